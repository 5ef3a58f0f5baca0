package store

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// ErrPartial is in the chain of errors of Query and QueryRange when the store could answer, but only in part: not
// all its storage nodes are there. Such a number would be smaller than the truth.
var ErrPartial = errors.New("not all storage nodes answered")

// nodes are where samples go and where questions go.
func nodes(o Options) (writes, reads node, err error) {
	if o.URL != "" {
		base, err := remoteURL("URL", o.URL, "http://victoria.internal:8428")
		n := node{name: "the remote store", base: base}
		return n, n, err
	}
	tenant, err := tenant(o.Tenant)
	if err != nil {
		return node{}, node{}, err
	}
	insert, err := remoteURL("insert URL", o.InsertURL, "http://vminsert:8480")
	if err != nil {
		return node{}, node{}, err
	}
	sel, err := remoteURL("select URL", o.SelectURL, "http://vmselect:8481")
	return node{name: "vminsert", base: insert, api: "/insert/" + tenant + "/prometheus"},
		node{name: "vmselect", base: sel, api: "/select/" + tenant + "/prometheus"}, err
}

// tenant checks the tenant of a cluster; empty is 0.
func tenant(text string) (string, error) {
	if text == "" {
		return "0", nil
	}
	account, project, two := strings.Cut(text, ":")
	_, err := strconv.ParseUint(account, 10, 32)
	if err == nil && two {
		_, err = strconv.ParseUint(project, 10, 32)
	}
	if err != nil {
		return "", &core.Error{
			Code: core.CodeInvalid, Message: fmt.Sprintf("the store's tenant %q is not a number, nor two with a colon", text),
			Hint: "write it like 0 or 42:7, each from 0 to 4294967295",
		}
	}
	return text, nil
}

// remoteURL checks an address.
func remoteURL(what, text, example string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, &core.Error{
			Code: core.CodeInvalid, Message: "the store's " + what + " is not an http or https address", Hint: "write it like " + example,
		}
	}
	if u.Path == "" {
		u.Path = "/" // JoinPath keeps a relative path relative
	}
	return u, nil
}

func (r *remote) cluster() bool { return r.writes != r.reads }

func partial(why string) error {
	return unavailable("the store has no more than a partial answer", "see which storage nodes are missing", fmt.Errorf("%w: %s", ErrPartial, why))
}

// incomplete is the error for a question that vmselect does not want to answer in part. It says the same when no
// storage node is left.
func (r *remote) incomplete(ctx context.Context, why string) error {
	if err := r.noStorage(ctx); err != nil {
		return err
	}
	return partial(why)
}

// noStorage is an error when vmselect says that no storage node answers at all; that vmselect is silent is for others
// to say. No series has the name: the question costs the nodes a look into an index.
func (r *remote) noStorage(ctx context.Context) error {
	status, a, err := r.post(ctx, "/api/v1/query", url.Values{"query": {"evenkeel_store_of_nothing"}})
	if err != nil || status != http.StatusServiceUnavailable || a.Status != "error" {
		return nil //nolint:nilerr // see above
	}
	return unavailable("no storage node of the cluster answers", "look at the vmstorage nodes", errors.New(a.Error))
}

// ready asks all parts of the store at once. vminsert and vmselect feel well without a single storage node, and
// vminsert goes on to acknowledge samples, so those are asked after too.
func (r *remote) ready() error {
	ctx, cancel := context.WithTimeout(context.Background(), readyTimeout)
	defer cancel()
	if !r.cluster() {
		return r.healthy(ctx, r.reads)
	}
	var insert, sel, storage error
	var wg sync.WaitGroup
	wg.Go(func() { insert = r.healthy(ctx, r.writes) })
	wg.Go(func() { sel = r.healthy(ctx, r.reads) })
	wg.Go(func() { storage = r.noStorage(ctx) })
	wg.Wait()
	for _, err := range []error{insert, sel, storage} {
		if err != nil {
			return err
		}
	}
	return nil
}
