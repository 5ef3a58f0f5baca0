package ledger

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

const (
	// maxFeedback bounds the words that are kept of all people: a script that runs wild must not fill the ledger.
	maxFeedback = 20_000
	// maxWords bounds those of one person about one alarm or episode.
	maxWords = 100
)

func feedbackKey(f core.Feedback) string {
	return fmt.Sprintf("%s%s/%s/%06d", prefixFeedback, part(f.About), part(f.By), f.N)
}

// Say keeps a word of a person behind those that the same person has said of the same, and returns what is kept; fresh is false
// when that is the last of them already. Of several replicas any may write it: it changes nothing that is decided. f is checked by
// the caller, and its N is filled in.
func (l *Ledger) Say(ctx context.Context, f core.Feedback) (kept core.Feedback, fresh bool, err error) {
	for {
		guard, done, err := l.freeGuard(ctx)
		if err != nil {
			return kept, false, err
		}
		kept, fresh, again, err := l.say(ctx, guard, f)
		done()
		if err != nil || !again {
			return kept, fresh, err
		}
	}
}

// say is one attempt; again is true when the same person has said something else meanwhile.
func (l *Ledger) say(ctx context.Context, guard clientv3.Cmp, f core.Feedback) (kept core.Feedback, fresh, again bool, err error) {
	of := prefixFeedback + part(f.About) + "/" + part(f.By) + "/"
	// One read that asks the others: an own word of a moment ago is not to be missed.
	res, err := l.client.Get(ctx, of, clientv3.WithPrefix(), clientv3.WithLimit(1), clientv3.WithSort(clientv3.SortByKey, clientv3.SortDescend))
	if err != nil {
		return kept, false, false, unavailable("the ledger does not answer", err)
	}
	f.N = 1
	if len(res.Kvs) > 0 {
		last, err := decode[core.Feedback](res.Kvs[0])
		if err != nil {
			return kept, false, false, err
		}
		if f.Same(*last) {
			return *last, false, false, nil
		}
		if f.N = last.N + 1; f.N > maxWords {
			return kept, false, false, &core.Error{
				Code: core.CodeTooLarge, Message: fmt.Sprintf("%s has said %d words about it already", f.By, maxWords), Hint: "the last one stands",
			}
		}
	}
	if err := l.roomForFeedback(ctx); err != nil {
		return kept, false, false, err
	}
	value, err := json.Marshal(f)
	if err != nil {
		return kept, false, false, fmt.Errorf("encode the feedback: %w", err)
	}
	key := feedbackKey(f)
	put, err := l.client.Txn(ctx).
		If(guard, clientv3.Compare(clientv3.CreateRevision(key), "=", 0)).
		Then(clientv3.OpPut(key, string(value))).
		Else(clientv3.OpGet(key)).Commit()
	if err != nil {
		return kept, false, false, unavailable("the ledger could not record the feedback", err)
	}
	l.saw(put.Header.GetRevision())
	switch {
	case put.Succeeded:
		return f, true, false, nil
	case len(put.Responses[0].GetResponseRange().GetKvs()) == 0:
		return kept, false, false, l.lostFence() // nobody else wrote it, so it was the guard
	}
	return kept, false, true, nil
}

func (l *Ledger) roomForFeedback(ctx context.Context) error {
	res, err := l.client.Get(ctx, prefixFeedback, clientv3.WithPrefix(), clientv3.WithCountOnly(), clientv3.WithSerializable())
	if err != nil {
		return unavailable("the ledger does not answer", err)
	}
	if res.Count >= maxFeedback {
		return &core.Error{
			Code: core.CodeTooLarge, Message: fmt.Sprintf("%d words of feedback are kept already", maxFeedback),
			Hint: "they go after 90 days; see with evenkeel-server feedback list who says so many",
		}
	}
	return nil
}

// Feedback is every word that is kept, the newest first.
func (l *Ledger) Feedback(ctx context.Context) ([]core.Feedback, error) {
	out := []core.Feedback{}
	if err := scan(ctx, l, prefixFeedback, 0, decode, func(f core.Feedback) { out = append(out, f) }); err != nil {
		return nil, err
	}
	slices.SortFunc(out, core.NewestWord)
	return out, nil
}
