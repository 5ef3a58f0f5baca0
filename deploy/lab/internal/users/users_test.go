package users

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTheDayHasAPeakAndATrough(t *testing.T) {
	o := Options{Peak: 60, Day: 10 * time.Minute}
	f := func(at time.Duration, want float64) {
		t.Helper()
		if got := o.Rate(at); math.Abs(got-want) > 1e-9 {
			t.Errorf("at %s: %g, want %g", at, got, want)
		}
	}
	f(0, 42)
	f(150*time.Second, 60)
	f(450*time.Second, 24)
	f(600*time.Second, 42)
}

// answers is a transport without a network: every fifth request fails.
type answers struct{ n atomic.Int64 }

func (a *answers) RoundTrip(*http.Request) (*http.Response, error) {
	time.Sleep(20 * time.Millisecond)
	w := httptest.NewRecorder()
	if a.n.Add(1)%5 == 0 {
		w.WriteHeader(http.StatusBadGateway)
	}
	return w.Result(), nil
}

func TestUsersAreAnOpenLoopAndRememberPerSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var each bytes.Buffer
		u := New(Options{URL: "http://director/checkout", Peak: 100, Day: time.Hour, Each: &each, Log: slog.New(slog.DiscardHandler)})
		u.client.Transport = &answers{}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); u.Run(ctx) }()
		time.Sleep(20 * time.Second)
		s := u.Window(time.Now(), 10)
		cancel()
		<-done
		if s.Sent < 500 || s.Sent > 900 { // 70 a second
			t.Errorf("%d sent in 10 s", s.Sent)
		}
		if s.Success == nil || math.Abs(*s.Success-0.8) > 0.02 {
			t.Errorf("success %v", s.Success)
		}
		if s.P50MS == nil || *s.P50MS != 20 {
			t.Errorf("median %v", s.P50MS)
		}
		if n := bytes.Count(each.Bytes(), []byte("\n")); n < 13 || n > 17 {
			t.Errorf("%d settled seconds of 20", n)
		}
	})
}

func TestTheLoadCanBeChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := New(Options{URL: "http://director/checkout", Peak: 100, Day: time.Hour, Log: slog.New(slog.DiscardHandler)})
		u.client.Transport = &answers{}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); u.Run(ctx) }()
		time.Sleep(5 * time.Second)
		u.SetPeak(400)
		time.Sleep(12 * time.Second)
		s := u.Window(time.Now(), 10)
		cancel()
		<-done
		if s.Sent < 2200 || s.Sent > 3400 { // 280 a second
			t.Errorf("%d sent in 10 s", s.Sent)
		}
	})
}

// silence never answers.
type silence struct{}

func (silence) RoundTrip(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, io.ErrUnexpectedEOF
}

func TestTooManyWaitingUsersAreTurnedAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := New(Options{URL: "http://director/checkout", Peak: 1000, Day: time.Hour, Log: slog.New(slog.DiscardHandler)})
		u.client.Transport = silence{}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); u.Run(ctx) }()
		time.Sleep(12 * time.Second)
		s := u.Window(time.Now(), 8)
		cancel()
		<-done
		if s.OK != 0 || s.Failed < 3000 || s.P50MS != nil || s.Success == nil || *s.Success != 0 {
			t.Errorf("%+v", s)
		}
	})
}
