package postgresql

import (
	"testing"
	"time"
)

func TestLSN(t *testing.T) {
	f := func(text string, want LSN, ok bool) {
		t.Helper()
		got, err := ParseLSN(text)
		if (err == nil) != ok || got != want {
			t.Errorf("%q: %v, %v; want %v", text, got, err, want)
		}
	}
	f("0/0", 0, true)
	f("16/B374D848", 0x16B374D848, true)
	f("FFFFFFFF/FFFFFFFF", 1<<64-1, true)
	for _, bad := range []string{"", "/", "1", "1/", "/1", "1/2/3", "-1/0", "100000000/0", "0/100000000", "g/0", "0x1/0", "+1/0", "1_0/0"} {
		f(bad, 0, false)
	}
	if got := behind(10, 4); got != 0 {
		t.Errorf("behind is negative: %d", got)
	}
	var l LSN
	if err := l.Scan(7); err == nil {
		t.Error("a number is no position")
	}
}

func FuzzLSN(f *testing.F) {
	f.Add("16/B374D848")
	f.Add("/")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := ParseLSN(text)
		if err != nil {
			return
		}
		again, err := ParseLSN(got.String())
		if err != nil || again != got {
			t.Errorf("%q: %v, then %v, %v", text, got, again, err)
		}
	})
}

func FuzzVersion(f *testing.F) {
	f.Add("15.18 (Debian 15.18-0+deb12u1)")
	f.Add("19beta1")
	f.Add("99999999999999999999")
	f.Fuzz(func(t *testing.T, text string) {
		if serverVersion(text) < 0 {
			t.Errorf("%q: a negative version", text)
		}
	})
}

func TestVersion(t *testing.T) {
	f := func(text string, want int) {
		t.Helper()
		if got := serverVersion(text); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
	f("15.18 (Debian 15.18-0+deb12u1)", 15)
	f("19beta1", 19)
	f("9.6.24", 9)
	f("", 0)
	f("x", 0)
}

func TestMarks(t *testing.T) {
	at := func(n int) time.Time { return noon.Add(time.Duration(n) * time.Second) }
	var m marks
	if _, ok := m.complete(5); ok {
		t.Error("nothing is known, and something is complete")
	}
	m = m.add(at(0), at(0), 100).add(at(1), at(1), 200)
	rested := m.add(at(1), at(9), 200)
	if got, ok := rested.complete(200); !ok || !got.Equal(at(9)) {
		t.Errorf("complete up to %v %v, want 9 s", got, ok)
	}
	if got, ok := rested.missing(150); !ok || !got.Equal(at(1)) {
		t.Errorf("missing since %v %v, want 1 s", got, ok)
	}
	if got, ok := m.complete(200); !ok || !got.Equal(at(1)) {
		t.Errorf("the marks that were given were changed: %v %v", got, ok)
	}
	if _, ok := m.missing(201); ok {
		t.Error("a position that nobody saw is missing")
	}
	if _, ok := m.complete(99); ok {
		t.Error("complete before the first mark")
	}
	if back := m.add(at(3), at(3), 50); len(back) != 1 {
		t.Errorf("a position that went back keeps %d marks", len(back))
	}
	// A long life: bounded, and never tighter than the truth, which is one position a second.
	m = nil
	for i := range 5000 {
		m = m.add(at(i), at(i), uint64(i))
	}
	if len(m) > maxMarks {
		t.Errorf("%d marks", len(m))
	}
	for i := 10; i < 4990; i++ {
		if got, ok := m.complete(uint64(i)); ok && got.After(at(i)) {
			t.Fatalf("%d: complete up to %v", i, got)
		}
		if got, ok := m.missing(uint64(i)); ok && got.Before(at(i)) {
			t.Fatalf("%d: missing since %v", i, got)
		}
	}
	if _, ok := m.complete(10); !ok {
		t.Error("the oldest marks are forgotten")
	}
}
