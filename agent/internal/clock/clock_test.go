package clock

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// world is two clocks and a network between them.
type world struct {
	start  int64         // true time at mono 0
	offset time.Duration // agent's wall clock minus true time at mono 0
	drift  int64         // ppm, of the agent's clocks against the server's
}

func (w world) agent(at time.Duration) (wall int64, mono time.Duration) {
	mono = at + at/1_000_000*time.Duration(w.drift) + at%1_000_000*time.Duration(w.drift)/1_000_000
	return w.start + int64(w.offset) + int64(mono), mono
}

func (w world) server(at time.Duration) int64 { return w.start + int64(at) }

func (w world) exchange(at, out, hold, back time.Duration) Exchange {
	t1, _ := w.agent(at)
	t4, mono := w.agent(at + out + hold + back)
	return Exchange{T1: t1, T2: w.server(at + out), T3: w.server(at + out + hold), T4: t4, Mono: mono}
}

func TestTheTrueOffsetIsWithinTheBound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := world{
			start:  1_790_000_000_000_000_000,
			offset: time.Duration(rapid.Int64Range(-int64(time.Hour), int64(time.Hour)).Draw(t, "offset")),
			drift:  rapid.Int64Range(-200, 200).Draw(t, "drift"),
		}
		delay := func(name string) time.Duration {
			return time.Duration(rapid.Int64Range(0, int64(300*time.Millisecond)).Draw(t, name))
		}
		var e Estimator
		at := time.Duration(0)
		for range rapid.IntRange(1, 100).Draw(t, "exchanges") {
			out, hold, back := delay("out"), delay("hold"), delay("back")
			if !e.Add(w.exchange(at, out, hold, back)) {
				t.Fatal("a true exchange was refused")
			}
			at += out + hold + back + time.Duration(rapid.Int64Range(0, int64(10*time.Second)).Draw(t, "pause"))
			wall, mono := w.agent(at)
			got := e.At(wall, mono)
			if truth := time.Duration(wall - w.server(at)); !got.Known || (got.Offset-truth).Abs() > got.Err {
				t.Fatalf("offset %v +-%v, true %v", got.Offset, got.Err, truth)
			}
		}
	})
}

func TestTheBestOfRecentExchangesIsKept(t *testing.T) {
	w := world{start: 1_790_000_000_000_000_000, offset: 3 * time.Second}
	var e Estimator
	e.Add(w.exchange(0, time.Millisecond, 0, time.Millisecond))
	e.Add(w.exchange(time.Second, 5*time.Millisecond, 0, 200*time.Millisecond))
	wall, mono := w.agent(2 * time.Second)
	if got := e.At(wall, mono); got.Err > 4*time.Millisecond {
		t.Fatalf("error %v, the first exchange was good to 1 ms", got.Err)
	}
	wall, mono = w.agent(2 * time.Hour)
	if got := e.At(wall, mono); got.Err < time.Second {
		t.Fatalf("after two hours without an exchange the error is only %v", got.Err)
	}
}

func TestAStepOfEitherClockIsFollowed(t *testing.T) {
	w := world{start: 1_790_000_000_000_000_000}
	var e Estimator
	for i := range 10 {
		e.Add(w.exchange(time.Duration(i)*time.Second, time.Millisecond, 0, time.Millisecond))
	}
	// The agent's wall clock is set forward: known at once, without a new exchange.
	w.offset = 30 * time.Second
	wall, mono := w.agent(11 * time.Second)
	if got := e.At(wall, mono); (got.Offset - 30*time.Second).Abs() > got.Err {
		t.Fatalf("after a step of our clock: %v +-%v", got.Offset, got.Err)
	}
	// The server's clock is set forward: known after one exchange.
	w.start += int64(time.Minute)
	w.offset -= time.Minute
	e.Add(w.exchange(12*time.Second, 2*time.Millisecond, 0, 2*time.Millisecond))
	wall, mono = w.agent(13 * time.Second)
	if got := e.At(wall, mono); (got.Offset + 30*time.Second).Abs() > got.Err {
		t.Fatalf("after a step of the server's clock: %v +-%v", got.Offset, got.Err)
	}
}

func TestContradictionsAreRefused(t *testing.T) {
	f := func(name string, x Exchange) {
		t.Helper()
		var e Estimator
		if e.Add(x) {
			t.Errorf("%s was believed", name)
		}
		if e.At(0, 0).Known {
			t.Errorf("%s: something is known", name)
		}
	}
	f("an answer before the question", Exchange{T1: 10, T2: 5, T3: 6, T4: 9})
	f("a hold below zero", Exchange{T1: 10, T2: 6, T3: 5, T4: 20})
	f("a hold longer than the trip", Exchange{T1: 10, T2: 0, T3: 50, T4: 20})
}
