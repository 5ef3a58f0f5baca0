package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
)

// Server is where a cluster is and as whom to ask it.
type Server struct {
	Address      string // bootstrap brokers, host:port, with commas between
	User         string // empty: no SASL
	PasswordFile string // read at each connect
	Mechanism    string // PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512; empty: SCRAM-SHA-512
	TLS          *tls.Config
}

// client keeps the connections to a cluster. After a failure it is made anew.
type client struct {
	options []kgo.Opt
	kafka   *kgo.Client
	admin   *kadm.Client
}

func newClient(s Server, timeout time.Duration, more ...kgo.Opt) (client, error) {
	seeds := strings.Split(s.Address, ",")
	for _, seed := range seeds {
		if _, _, err := net.SplitHostPort(seed); err != nil || strings.ContainsAny(seed, "@/ ") {
			return client{}, errors.New("kafka: the address is not host:port, or several with commas between")
		}
	}
	options := []kgo.Opt{
		kgo.SeedBrokers(seeds...), kgo.ClientID("evenkeel"), kgo.RequestRetries(1), kgo.DialTimeout(timeout),
		kgo.RequestTimeoutOverhead(timeout),
		// A topic that was made is to be seen at the next look.
		kgo.MetadataMinAge(250 * time.Millisecond),
		// A batch is sent whole, however little is asked for.
		kgo.FetchMaxPartitionBytes(1), kgo.FetchMaxWait(100 * time.Millisecond), kgo.KeepControlRecords(),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
	}
	if s.TLS != nil {
		options = append(options, kgo.DialTLSConfig(s.TLS))
	}
	if s.User != "" {
		mechanism, err := s.mechanism()
		if err != nil {
			return client{}, err
		}
		options = append(options, kgo.SASL(mechanism))
	}
	return client{options: append(options, more...)}, nil
}

func (s Server) mechanism() (sasl.Mechanism, error) {
	switch s.Mechanism {
	case "PLAIN":
		return plain.Plain(func(context.Context) (plain.Auth, error) {
			password, err := secret(s.PasswordFile)
			return plain.Auth{User: s.User, Pass: password}, err
		}), nil
	case "SCRAM-SHA-256", "SCRAM-SHA-512", "":
		auth := func(context.Context) (scram.Auth, error) {
			password, err := secret(s.PasswordFile)
			return scram.Auth{User: s.User, Pass: password}, err
		}
		if s.Mechanism == "SCRAM-SHA-256" {
			return scram.Sha256(auth), nil
		}
		return scram.Sha512(auth), nil
	}
	return nil, errors.New("kafka: the mechanism is none of PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512")
}

// maxSecret bounds what is read of a password file.
const maxSecret = 64 << 10

func secret(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", errSecret
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, maxSecret))
	if err != nil {
		return "", errSecret
	}
	return strings.TrimRight(string(text), "\r\n"), nil
}

// open makes the client unless there is one, and sees that the cluster answers.
func (c *client) open(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if c.kafka != nil {
		return nil
	}
	k, err := kgo.NewClient(c.options...)
	if err != nil {
		return errors.New("the driver refuses its options")
	}
	if err := k.Ping(ctx); err != nil {
		k.CloseAllowingRebalance()
		return fmt.Errorf("connect: %w", err)
	}
	c.kafka, c.admin = k, kadm.NewClient(k)
	return nil
}

func (c *client) close() {
	if c.kafka != nil {
		c.kafka.CloseAllowingRebalance()
		c.kafka, c.admin = nil, nil
	}
}

// span is a range of offsets; to is not in it.
type span struct{ from, to int64 }

// first reads the first record of each span that is no mark of a transaction. A value that is absent says that there is none;
// a span that is not in the answer could not be read in time.
func (c *client) first(ctx context.Context, want map[Place]span) (map[Place]replica.Opt[*kgo.Record], error) {
	found := map[Place]replica.Opt[*kgo.Record]{}
	err := c.read(ctx, want, func(at Place, r *kgo.Record) (done bool) {
		switch {
		case r.Offset >= want[at].to:
			found[at] = replica.Opt[*kgo.Record]{}
			return true
		case r.Attrs.IsControl():
			if r.Offset == want[at].to-1 {
				found[at] = replica.Opt[*kgo.Record]{}
				return true
			}
			return false
		}
		found[at] = replica.Some(r)
		return true
	})
	return found, err
}

// all reads the records of each span but for marks of transactions.
func (c *client) all(ctx context.Context, want map[Place]span) ([]*kgo.Record, error) {
	var out []*kgo.Record
	err := c.read(ctx, want, func(at Place, r *kgo.Record) (done bool) {
		if r.Offset < want[at].to && !r.Attrs.IsControl() {
			out = append(out, r)
		}
		return r.Offset >= want[at].to-1
	})
	return out, err
}

// read hands over the records of each span, from its begin on, until take says that it has what it needs. What cannot be read
// in time is left out; the rest of the time of a look is for that.
func (c *client) read(ctx context.Context, want map[Place]span, take func(Place, *kgo.Record) (done bool)) error {
	if len(want) == 0 {
		return nil
	}
	open, offsets := map[Place]bool{}, map[string]map[int32]kgo.Offset{}
	partitions := map[string][]int32{}
	for at, s := range want {
		open[at] = true
		if offsets[at.Topic] == nil {
			offsets[at.Topic] = map[int32]kgo.Offset{}
		}
		offsets[at.Topic][at.Partition] = kgo.NewOffset().At(s.from)
		partitions[at.Topic] = append(partitions[at.Topic], at.Partition)
	}
	c.kafka.AddConsumePartitions(offsets)
	defer func() {
		if c.kafka != nil {
			c.kafka.RemoveConsumePartitions(partitions)
		}
	}()
	for len(open) > 0 {
		fetches := c.kafka.PollFetches(ctx)
		for _, e := range fetches.Errors() {
			if ctx.Err() != nil {
				return nil
			}
			// The driver may hold on to a topic that was made anew; a new one does not.
			c.close()
			return fmt.Errorf("read a record: %w", e.Err)
		}
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			at := Place{p.Topic, p.Partition}
			if !open[at] {
				return
			}
			if slices.ContainsFunc(p.Records, func(r *kgo.Record) bool { return take(at, r) }) {
				delete(open, at)
			}
		})
	}
	return nil
}
