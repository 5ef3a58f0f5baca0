package ledger

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// bundleFormat is the version of the form of a bundle.
const bundleFormat = 1

// bundle is all that a new replica needs to join. It holds private keys: whoever has it is a member.
type bundle struct {
	Format  int               `json:"format"`
	Cluster string            `json:"cluster_id"`
	Name    string            `json:"name"`
	Peer    string            `json:"peer"`
	Members map[string]string `json:"members"` // peer address by name, the new one included
	CA      string            `json:"ca_pem,omitempty"`
	CAKey   string            `json:"ca_key_pem,omitempty"`
}

// parseBundle reads a bundle; its error never shows a part of it.
func parseBundle(text []byte) (*bundle, error) {
	bad := func(why string) error {
		return &core.Error{
			Code: core.CodeInvalid, Message: "the bundle cannot be used: " + why,
			Hint: "make a new one on a running replica with: evenkeel-server replica add NAME --out FILE",
		}
	}
	b := &bundle{}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(b); err != nil {
		return nil, bad("it is not whole")
	}
	if b.Format != bundleFormat {
		return nil, bad(fmt.Sprintf("it has format %d, this version knows %d", b.Format, bundleFormat))
	}
	if b.Name == "" || b.Cluster == "" || b.Members[b.Name] != b.Peer || len(b.Members) < 2 {
		return nil, bad("it names no replica, no cluster or no members")
	}
	for _, peer := range b.Members {
		if _, err := peerURL(peer); err != nil {
			return nil, bad("it holds an address that is none")
		}
	}
	if (b.CA == "") != (b.CAKey == "") {
		return nil, bad("it holds half an authority")
	}
	if b.CA != "" {
		if _, err := parseAuthority([]byte(b.CA), []byte(b.CAKey)); err != nil {
			return nil, bad("its authority is damaged")
		}
	}
	return b, nil
}

// askMembers asks the other replicas who the members are now: since the bundle was made others may have
// joined or left, and etcd wants to be told exactly who is there.
func askMembers(ctx context.Context, b *bundle, files TLSFiles) (map[string]string, error) {
	config, err := files.info().ClientConfig()
	if err != nil {
		return nil, tlsProblem(err)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}, Timeout: 5 * time.Second}
	var last error
	var found, out map[string]string // an answer that knows us; any answer
	for _, name := range slices.Sorted(maps.Keys(b.Members)) {
		if name == b.Name {
			continue
		}
		members, err := askMember(ctx, client, b.Members[name])
		if err != nil {
			last = err
			continue
		}
		out = map[string]string{}
		for i, m := range members {
			switch {
			case slices.Contains(m.PeerURLs, b.Peer) && (m.Name != "" || !m.IsLearner):
				// It has voted: without what it wrote down then, it would vote again, and undo what was decided.
				return nil, &core.Error{
					Code: core.CodeConflict, Message: b.Name + " has joined before with this bundle, and its ledger is not here any more",
					Hint: "make a new bundle with: evenkeel-server replica replace " + b.Name + " --out FILE",
				}
			case slices.Contains(m.PeerURLs, b.Peer):
				out[b.Name] = b.Peer
			case m.Name == "": // added, not started yet: it has no name so far
				out[fmt.Sprintf("unstarted-%d", i)] = strings.Join(m.PeerURLs, ",")
			default:
				out[m.Name] = strings.Join(m.PeerURLs, ",")
			}
		}
		if out[b.Name] != "" {
			found = out
		}
	}
	switch {
	case found != nil:
		return found, nil // all who answer were asked: one may lag behind
	case out != nil:
		return nil, &core.Error{
			Code: core.CodeConflict, Message: "the other replicas do not expect " + b.Name + " at " + b.Peer,
			Hint: "it was removed, or this bundle is an old one; make a new one with: evenkeel-server replica replace " + b.Name + " --out FILE",
		}
	}
	return nil, &core.Error{
		Code: core.CodeUnavailable, Message: "none of the other replicas answers", Err: last,
		Hint: "see that they run and that this machine reaches " + strings.Join(slices.Sorted(maps.Values(b.Members)), ", "),
	}
}

type peerMember struct {
	Name      string   `json:"name"`
	PeerURLs  []string `json:"peerURLs"`
	IsLearner bool     `json:"isLearner"`
}

func askMember(ctx context.Context, client *http.Client, peer string) ([]peerMember, error) {
	u, err := url.JoinPath(peer, "members")
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
	if err != nil {
		return nil, err
	}
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", peer, res.Status)
	}
	var out []peerMember
	if err := json.Unmarshal(text, &out); err != nil {
		return nil, fmt.Errorf("%s answers nonsense: %w", peer, err)
	}
	return out, nil
}
