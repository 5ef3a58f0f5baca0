package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
)

// group asks for what a group has committed, and then for how much there is.
func (e *Engine) group(ctx context.Context, l LinkSpec) (GroupRow, error) {
	var row GroupRow
	committed, err := e.client.admin.FetchOffsets(ctx, l.Channel)
	// A group that is not there has committed nothing.
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		return row, fmt.Errorf("fetch committed offsets: %w", err)
	}
	topics := l.topics()
	if len(topics) == 0 {
		topics = slices.Sorted(maps.Keys(committed))
	}
	if len(topics) == 0 {
		return row, nil
	}
	list := e.client.admin.ListEndOffsets
	if e.options.ReadCommitted {
		list = e.client.admin.ListCommittedOffsets
	}
	ends, err := list(ctx, topics...)
	if err != nil {
		return row, fmt.Errorf("list end offsets: %w", err)
	}
	row.Now = time.Now()
	// Starts only grow: one that is read later may say that more was deleted, and never less.
	starts, err := e.client.admin.ListStartOffsets(ctx, topics...)
	if err != nil {
		return row, fmt.Errorf("list start offsets: %w", err)
	}
	if row.Members, err = e.members(ctx, l.Channel); err != nil {
		return row, err
	}
	for _, topic := range topics {
		if len(ends[topic]) == 0 {
			return row, noTopic(topic)
		}
		for partition, end := range ends[topic] {
			p, err := partitionRow(committed, starts, end)
			if err != nil {
				return row, fmt.Errorf("partition %d: %w", partition, err)
			}
			row.Partitions = append(row.Partitions, p)
		}
	}
	if err := e.unread(ctx, row.Partitions); err != nil {
		return row, err
	}
	return row, e.after(ctx, l.Channel, row.Partitions)
}

// after fetches the committed offsets again when there is something unread: the group may have gone on meanwhile.
func (e *Engine) after(ctx context.Context, group string, parts []PartitionRow) error {
	if !slices.ContainsFunc(parts, func(p PartitionRow) bool { return p.First.OK }) {
		return nil
	}
	committed, err := e.client.admin.FetchOffsets(ctx, group)
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		return fmt.Errorf("fetch committed offsets again: %w", err)
	}
	for i := range parts {
		p := &parts[i]
		if at, ok := committed.Lookup(p.Topic, p.Partition); ok && at.Err == nil && at.At >= 0 {
			p.After = replica.Some(at.At)
		}
	}
	return nil
}

// partitionRow puts together what three answers say of one partition.
func partitionRow(committed kadm.OffsetResponses, starts kadm.ListedOffsets, end kadm.ListedOffset) (PartitionRow, error) {
	p := PartitionRow{Place: Place{end.Topic, end.Partition}, End: end.Offset}
	start, ok := starts.Lookup(end.Topic, end.Partition)
	at, known := committed.Lookup(end.Topic, end.Partition)
	switch {
	case errors.Is(end.Err, kerr.UnknownTopicOrPartition):
		return p, noTopic(end.Topic)
	case end.Err != nil:
		return p, end.Err
	case !ok:
		return p, &Failure{replica.ReasonIncomplete, "an answer lacks a partition"}
	case start.Err != nil:
		return p, start.Err
	case known && at.Err != nil:
		return p, at.Err
	}
	// A log that was cut meanwhile may start after where it ended before.
	p.Start = min(start.Offset, p.End)
	if known && at.At >= 0 {
		p.Committed = replica.Some(at.At)
	}
	return p, nil
}

// members is how many members a group has; absent when that does not say whether it works.
func (e *Engine) members(ctx context.Context, group string) (replica.Opt[int], error) {
	var none replica.Opt[int]
	described, err := e.client.admin.DescribeGroups(ctx, group)
	if err != nil {
		return none, fmt.Errorf("describe group: %w", err)
	}
	g, ok := described[group]
	switch {
	case !ok || errors.Is(g.Err, kerr.GroupIDNotFound):
		return none, nil
	case g.Err != nil:
		return none, fmt.Errorf("describe group: %w", g.Err)
	case g.State == "Dead" || g.ProtocolType == "":
		// Not there, of the new protocol, or one whose offsets are committed from outside.
		return none, nil
	}
	return replica.Some(len(g.Members)), nil
}

// unread fetches the first unread record of each partition that is behind.
func (e *Engine) unread(ctx context.Context, parts []PartitionRow) error {
	want := map[Place]span{}
	for i := range parts {
		p := &parts[i]
		from := max(p.Committed.Or(p.Start), p.Start)
		if from < p.End {
			p.Unread = true
			want[p.Place] = span{from, p.End}
		}
	}
	found, err := e.client.first(ctx, want)
	if err != nil {
		return err
	}
	for i := range parts {
		p := &parts[i]
		r, ok := found[p.Place]
		if !ok {
			continue
		}
		p.Unread = false
		if r.OK {
			p.First = replica.Some(RecordRow{Offset: r.V.Offset, At: r.V.Timestamp, Appended: r.V.Attrs.TimestampType() == 1})
		}
	}
	return nil
}

// tail is how many records at the end of a heartbeats topic are read: the last may be marks of transactions.
const tail = 20

// mirror reads the newest heartbeat of MirrorMaker 2.
func (e *Engine) mirror(ctx context.Context, l LinkSpec) (MirrorRow, error) {
	var row MirrorRow
	topic := l.alias() + ".heartbeats"
	ends, err := e.client.admin.ListEndOffsets(ctx, topic)
	if err != nil {
		return row, fmt.Errorf("list end offsets: %w", err)
	}
	starts, err := e.client.admin.ListStartOffsets(ctx, topic)
	if err != nil {
		return row, fmt.Errorf("list start offsets: %w", err)
	}
	missing := noTopic(topic)
	missing.Detail += ", to which MirrorMaker 2 copies its heartbeats: peer is its alias of the source; a link by a consumer group names it as channel"
	if len(ends[topic]) == 0 {
		return row, missing
	}
	want := map[Place]span{}
	for partition, end := range ends[topic] {
		start, ok := starts.Lookup(topic, partition)
		switch {
		case errors.Is(end.Err, kerr.UnknownTopicOrPartition):
			return row, missing
		case end.Err != nil:
			return row, fmt.Errorf("partition %d: %w", partition, end.Err)
		case !ok || start.Err != nil:
			return row, &Failure{replica.ReasonIncomplete, "an answer lacks a partition"}
		}
		row.Offset += end.Offset
		if from := max(start.Offset, end.Offset-tail); from < end.Offset {
			want[Place{topic, partition}] = span{from, end.Offset}
		}
	}
	records, err := e.client.all(ctx, want)
	if err != nil {
		return row, err
	}
	row.Now = time.Now()
	bad := 0
	for _, r := range records {
		b, ok := ParseHeartbeat(r.Key, r.Value)
		if !ok {
			bad++
			continue
		}
		if !row.Beat.OK || b.At.After(row.Beat.V.At) {
			row.Beat = replica.Some(b)
		}
	}
	if !row.Beat.OK && bad > 0 {
		return row, &Failure{replica.ReasonIncomplete, "the topic with the heartbeats holds something else"}
	}
	return row, nil
}
