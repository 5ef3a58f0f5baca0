package ledger

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// Kinds of tokens.
const (
	TokenAdmin = "admin"
	TokenSite  = "site"
	TokenEdge  = "edge"
)

// storedToken is what is kept of a token: who it belongs to, and what its text hashes to.
type storedToken struct {
	core.Credential
	SHA256 string `json:"sha256"`
}

// tokens are the credentials in memory. The hash of 256 random bits may be a map key: how long a lookup
// takes says nothing about a token that one does not have already.
type tokens struct {
	mu   sync.RWMutex
	by   map[[sha256.Size]byte]core.Credential
	hash map[string][sha256.Size]byte // by id
	seen map[string]int64             // ModRevision by id, of deletions too
}

func newTokens() *tokens {
	return &tokens{
		by:   map[[sha256.Size]byte]core.Credential{},
		hash: map[string][sha256.Size]byte{},
		seen: map[string]int64{},
	}
}

// ids are the ids of all tokens, in no order.
func (t *tokens) ids() []string {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return slices.Collect(maps.Keys(t.hash))
}

// set takes what the ledger says of a token at a revision; cred is nil when it is gone. What is older than
// what is known is passed over: a write here and its echo by the watch come in either order.
func (t *tokens) set(id string, rev int64, hash [sha256.Size]byte, cred *core.Credential) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if rev <= t.seen[id] {
		return
	}
	t.seen[id] = rev
	if old, ok := t.hash[id]; ok {
		delete(t.by, old)
		delete(t.hash, id)
	}
	if cred != nil {
		t.by[hash] = *cred
		t.hash[id] = hash
	}
}

var tokenName = regexp.MustCompile(`^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$`)

// CreateToken makes a token and returns its text, which is not kept and cannot be had again. Kind is
// admin, site or edge; name is the site, the edge or the person. A nil expires is for ever.
func (l *Ledger) CreateToken(
	ctx context.Context, kind, name string, expires *time.Time,
) (core.Credential, core.Secret, error) {
	text := NewToken(kind)
	cred, err := l.KeepToken(ctx, text, kind, name, expires)
	if err != nil {
		return core.Credential{}, "", err
	}
	return cred, text, nil
}

// NewToken is the text of a token that nobody has yet. It is worth nothing before KeepToken.
func NewToken(kind string) core.Secret {
	var raw [32]byte
	_, _ = rand.Read(raw[:]) // never fails
	return core.Secret("evk_" + kind + "_" + base64.RawURLEncoding.EncodeToString(raw[:]))
}

// KeepToken makes a token of a text of NewToken: for who wants to have the text safe before it is valid.
func (l *Ledger) KeepToken(
	ctx context.Context, text core.Secret, kind, name string, expires *time.Time,
) (core.Credential, error) {
	now := time.Now().UTC().Truncate(time.Second)
	if err := checkToken(kind, name, expires, now); err != nil {
		return core.Credential{}, err
	}
	hash := sha256.Sum256([]byte(text.Reveal()))
	cred := core.Credential{ID: randomID("tok_"), Kind: kind, Name: name, CreatedAt: now, ExpiresAt: expires}
	value, err := json.Marshal(storedToken{Credential: cred, SHA256: hex.EncodeToString(hash[:])})
	if err != nil {
		return core.Credential{}, fmt.Errorf("encode the token: %w", err)
	}
	rev, err := l.putToken(ctx, clientv3.OpPut(prefixToken+part(cred.ID), string(value)))
	if err != nil {
		return core.Credential{}, err
	}
	l.tokens.set(cred.ID, rev, hash, &cred)
	return cred, nil
}

// putToken writes a token, or its end. Of several replicas any may: tokens decide nothing, and two of them are never
// about the same one. A server that is alone must hold the fence as for every other write.
func (l *Ledger) putToken(ctx context.Context, op clientv3.Op) (int64, error) {
	guard := clientv3.Compare(clientv3.CreateRevision(keyIdentity), ">", 0)
	if l.lead == nil {
		l.write.Lock()
		defer l.write.Unlock()
		if err := l.settle(ctx); err != nil {
			return 0, err
		}
		guard = clientv3.Compare(clientv3.ModRevision(keyFence), "=", l.fence.Load())
	}
	res, err := l.client.Txn(ctx).If(guard).Then(op).Commit()
	if err != nil {
		return 0, unavailable("the ledger could not record the token", err)
	}
	if !res.Succeeded {
		return 0, l.lostFence()
	}
	l.saw(res.Header.GetRevision())
	return res.Header.GetRevision(), nil
}

func checkToken(kind, name string, expires *time.Time, now time.Time) error {
	switch kind {
	case TokenAdmin, TokenSite, TokenEdge:
	default:
		return &core.Error{
			Code: core.CodeInvalid, Message: fmt.Sprintf("a token cannot be of kind %q", kind),
			Hint: "use admin, site or edge",
		}
	}
	if !tokenName.MatchString(name) {
		return &core.Error{
			Code: core.CodeInvalid, Message: fmt.Sprintf("a token cannot be named %q", name),
			Hint: "use up to 63 lower-case letters, digits, dots, dashes and underscores",
		}
	}
	if expires != nil && !expires.After(now) {
		return &core.Error{
			Code: core.CodeInvalid, Message: "the token would have expired already",
			Hint: "give a time in the future, or none",
		}
	}
	return nil
}

// ListTokens are all tokens, also expired ones, by kind, name and age. It reads memory.
func (l *Ledger) ListTokens(context.Context) ([]core.Credential, error) {
	l.tokens.mu.RLock()
	out := slices.AppendSeq(make([]core.Credential, 0, len(l.tokens.by)), maps.Values(l.tokens.by))
	l.tokens.mu.RUnlock()
	slices.SortFunc(out, func(a, b core.Credential) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name),
			a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
	return out, nil
}

// RevokeToken makes a token worthless at once; the error has CodeNotFound when there is none.
func (l *Ledger) RevokeToken(ctx context.Context, id string) error {
	l.tokens.mu.RLock()
	_, ok := l.tokens.hash[id]
	l.tokens.mu.RUnlock()
	if !ok {
		return &core.Error{
			Code: core.CodeNotFound, Message: "there is no token " + id, Hint: "list the tokens to see their ids",
		}
	}
	rev, err := l.putToken(ctx, clientv3.OpDelete(prefixToken+part(id)))
	if err != nil {
		return err
	}
	l.tokens.set(id, rev, [sha256.Size]byte{}, nil)
	return nil
}

// Authenticate says whose token it is. It asks memory only, so it works while the ledger is stuck. Every
// refusal is the same *core.Error with CodeUnauthorized, whatever the reason.
func (l *Ledger) Authenticate(_ context.Context, token string) (core.Credential, error) {
	hash := sha256.Sum256([]byte(token))
	l.tokens.mu.RLock()
	cred, ok := l.tokens.by[hash]
	kept := l.tokens.hash[cred.ID]
	l.tokens.mu.RUnlock()
	if !ok || subtle.ConstantTimeCompare(kept[:], hash[:]) != 1 ||
		(cred.ExpiresAt != nil && !time.Now().Before(*cred.ExpiresAt)) {
		return core.Credential{}, &core.Error{
			Code: core.CodeUnauthorized, Message: "the token is not valid",
			Hint: "make a new one with: evenkeel-server token create",
		}
	}
	return cred, nil
}

// readTokens brings the memory up to date and returns the revision it shows. A token stays valid meanwhile.
func (l *Ledger) readTokens(ctx context.Context) (int64, error) {
	res, err := l.client.Get(ctx, prefixToken, clientv3.WithPrefix(), clientv3.WithSerializable())
	if err != nil {
		return 0, unavailable("the ledger could not read its tokens", err)
	}
	l.saw(res.Header.GetRevision())
	there := map[string]bool{}
	for _, kv := range res.Kvs {
		there[strings.TrimPrefix(string(kv.GetKey()), prefixToken)] = true
		if err := l.takeToken(kv); err != nil {
			return 0, err
		}
	}
	for _, id := range l.tokens.ids() {
		if !there[id] {
			l.tokens.set(id, res.Header.GetRevision(), [sha256.Size]byte{}, nil)
		}
	}
	return res.Header.GetRevision(), nil
}

func (l *Ledger) takeToken(kv *mvccpb.KeyValue) error {
	t, err := decode[storedToken](kv)
	if err != nil {
		return err
	}
	sum, err := hex.DecodeString(t.SHA256)
	if err != nil || len(sum) != sha256.Size {
		return &core.Error{
			Code: core.CodeInternal, Message: "the token " + t.ID + " has no usable hash",
			Hint: "revoke it and make a new one", Err: err,
		}
	}
	l.tokens.set(t.ID, kv.GetModRevision(), [sha256.Size]byte(sum), &t.Credential)
	return nil
}

// followTokens keeps the memory current until ctx is done.
func (l *Ledger) followTokens(ctx context.Context, rev int64) {
	for ctx.Err() == nil {
		for res := range l.client.Watch(ctx, prefixToken, clientv3.WithPrefix(), clientv3.WithRev(rev+1)) {
			for _, ev := range res.Events {
				rev = max(rev, ev.Kv.GetModRevision())
				id := strings.TrimPrefix(string(ev.Kv.GetKey()), prefixToken)
				if ev.Type == clientv3.EventTypeDelete {
					l.tokens.set(id, rev, [sha256.Size]byte{}, nil)
					continue
				}
				if err := l.takeToken(ev.Kv); err != nil {
					l.log.LogAttrs(ctx, levelError, "token ignored", errAttr(err))
				}
			}
			rev = max(rev, res.CompactRevision-1)
		}
		l.pause(ctx)
		if now, err := l.readTokens(ctx); err == nil {
			rev = now
		}
	}
}
