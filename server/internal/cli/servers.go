package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/cli/client"
	"github.com/evenkeel/evenkeel/server/internal/core"
)

// servers are several ways to one control plane, asked in their order; the first that answered is asked first again.
//
// A read goes on to the next when one does not answer in its share of the time, or answers 503. An order goes on only
// when nothing of it can have been sent: repeated after that, it might be carried out twice.
type servers struct {
	urls    []*url.URL
	timeout time.Duration // of one question with its answer, whoever is asked
	next    client.HttpRequestDoer
	warn    io.Writer

	at       int  // of the one that answered last
	answered bool // one has
}

// share is how long one server may take when there are others.
func (s *servers) share() time.Duration { return s.timeout / time.Duration(len(s.urls)) }

var _ client.HttpRequestDoer = (*servers)(nil)

// apiBase stands for the server that is asked in the end.
const apiBase = "http://server/api/v1"

func parseServers(list string) ([]*url.URL, error) {
	var out []*url.URL
	for text := range strings.SplitSeq(list, ",") {
		text = strings.TrimSuffix(strings.TrimSpace(text), "/")
		u, err := url.Parse(text)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
			return nil, &core.Error{
				Code: core.CodeInvalid, Message: fmt.Sprintf("%q is no address of a server", text),
				Hint: "give --server as in http://127.0.0.1:8450, several with commas between",
			}
		}
		out = append(out, u)
	}
	return out, nil
}

// unanswered is what became of an order that was sent and got no answer.
type unanswered struct{ err error }

func (u *unanswered) Error() string { return u.err.Error() }
func (u *unanswered) Unwrap() error { return u.err }

// Do asks the servers until one answers.
func (s *servers) Do(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(r.Context(), s.timeout)
	res, err := s.ask(r.WithContext(ctx))
	if err != nil {
		cancel()
		return nil, err
	}
	res.Body = &released{res.Body, cancel}
	return res, nil
}

func (s *servers) ask(r *http.Request) (*http.Response, error) {
	read := r.Method == http.MethodGet
	var spare *http.Response // an answer that is better than none
	for i := range s.urls {
		n, last := (s.at+i)%len(s.urls), i == len(s.urls)-1
		res, sent, err := s.try(r, s.urls[n], read, last)
		switch {
		case err == nil && read && !last && res.StatusCode == http.StatusServiceUnavailable:
			if spare == nil {
				spare, err = kept(res)
			} else {
				err = res.Body.Close()
			}
			if err == nil {
				err = errors.New(res.Status)
			}
		case err == nil:
			s.at, s.answered = n, true
			return res, nil
		case !read && sent:
			s.at, s.answered = n, true
			return nil, &unanswered{err}
		case spare != nil && (last || r.Context().Err() != nil):
			return spare, nil
		case last || r.Context().Err() != nil:
			return nil, err
		}
		_, _ = fmt.Fprintf(s.warn, "warning: %s: %s; asking %s\n",
			s.urls[n].Redacted(), printable(short(err)), s.urls[(n+1)%len(s.urls)].Redacted())
	}
	return nil, errors.New("there is no server to ask")
}

// String is the server that answered last, or all of them while none has.
func (s *servers) String() string {
	if s.answered {
		return s.urls[s.at].Redacted()
	}
	var all []string
	for _, u := range s.urls {
		all = append(all, u.Redacted())
	}
	return strings.Join(all, ", ")
}

// try asks one server, and says whether anything can have been sent to it. When it is not the last there is, it has its
// share of the time to begin to answer a read, or to be reached for an order.
func (s *servers) try(r *http.Request, base *url.URL, read, last bool) (res *http.Response, sent bool, err error) {
	ctx, cancel := context.WithCancel(r.Context())
	var reached atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { reached.Store(true) },
	})
	if !last {
		timer := time.AfterFunc(s.share(), func() {
			if read || !reached.Load() {
				cancel()
			}
		})
		defer timer.Stop()
	}
	q := r.Clone(ctx)
	u := *base
	u.Path, u.RawPath, u.RawQuery = base.Path+r.URL.Path, base.EscapedPath()+r.URL.EscapedPath(), r.URL.RawQuery
	q.URL, q.Host = &u, base.Host
	if r.GetBody != nil {
		if q.Body, err = r.GetBody(); err != nil {
			cancel()
			return nil, false, err
		}
	}
	res, err = s.next.Do(q)
	if err != nil {
		cancel()
		if r.Context().Err() == nil && errors.Is(err, context.Canceled) {
			err = fmt.Errorf("no answer within %s", s.share().Round(time.Millisecond))
		}
		return nil, reached.Load(), err
	}
	res.Body = &released{res.Body, cancel}
	return res, true, nil
}

// released lets go of what an answer needed when its body is closed.
type released struct {
	io.ReadCloser
	release func()
}

func (b *released) Close() error {
	defer b.release()
	return b.ReadCloser.Close()
}

// kept is an answer whose body is read already.
func kept(res *http.Response) (*http.Response, error) {
	body, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if err = errors.Join(err, res.Body.Close()); err != nil {
		return nil, err
	}
	res.Body = io.NopCloser(bytes.NewReader(body))
	return res, nil
}

// short is an error without the address, which the reader knows.
func short(err error) string {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err.Error()
	}
	return err.Error()
}
