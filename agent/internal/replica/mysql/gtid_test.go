package mysql

import (
	"fmt"
	"math"
	"strings"
	"testing"
)

func TestGTIDPos(t *testing.T) {
	f := func(have, want string, own uint32, behind int64) {
		t.Helper()
		a, errA := parseGTIDPos(have)
		b, errB := parseGTIDPos(want)
		if errA != nil || errB != nil {
			t.Fatalf("%q, %q: %v, %v", have, want, errA, errB)
		}
		if got := a.behind(b, own); got != behind {
			t.Errorf("%q behind %q: %d, want %d", have, want, got, behind)
		}
	}
	f("", "", 2, 0)
	f("", "0-1-7", 2, 7)
	f("0-1-7", "", 2, 0)
	f("0-1-7", "0-1-7", 2, 0)
	f("0-3-9", "0-1-7", 2, 0) // another server went on in the same domain
	f("0-1-4,1-5-10", " 0-1-7,\n1-5-12", 2, 5)
	f("0-1-4", "0-1-7,9-2-100", 2, 3) // what began here is not applied again
	f("", "0-1-18446744073709551615,1-1-18446744073709551615", 2, math.MaxInt64)

	bad := func(text string) {
		t.Helper()
		if pos, err := parseGTIDPos(text); err == nil {
			t.Errorf("%q is read as %v", text, pos)
		}
	}
	bad("0-1")
	bad("0-1-2-3")
	bad("0-1--2")
	bad("0-1-2,")
	bad("4294967296-1-2")
	bad("0-1-18446744073709551616")
	bad("0-1-2,0-2-3")
}

func TestGTIDSet(t *testing.T) {
	const a, b = "3e11fa47-71ca-11e1-9e33-c80aa9429562", "bd4b724b-ab29-11ee-826f-000c294bd026"
	f := func(have, want string, missing int64) {
		t.Helper()
		x, errX := parseGTIDSet(have)
		y, errY := parseGTIDSet(want)
		if errX != nil || errY != nil {
			t.Fatalf("%q, %q: %v, %v", have, want, errX, errY)
		}
		if got := x.missing(y); got != missing {
			t.Errorf("%q lacks of %q: %d, want %d", have, want, got, missing)
		}
	}
	f("", "", 0)
	f("", a+":1-5", 5)
	f(a+":1-5", a+":1-5", 0)
	f(a+":1-5", a+":1-5,\n"+b+":7", 1)
	f(a+":1-3:5-8", a+":1-10", 3)
	f(a+":5-8:1-3:4", a+":1-8", 0) // out of order, touching
	f(a+":1-100", "3E11FA47-71CA-11E1-9E33-C80AA9429562:50-101", 1)
	f(a+":1-100", a+":tag:1-4:other:7", 5) // tags count apart
	f(a+":1-2:tag:1-3", a+":1-4:TAG:1-5", 4)
	f("", a+":1-9223372036854775806,"+b+":1-9223372036854775806", math.MaxInt64)

	bad := func(text string) {
		t.Helper()
		if set, err := parseGTIDSet(text); err == nil {
			t.Errorf("%q is read as %v", text, set)
		}
	}
	bad(a)
	bad(a + ":")
	bad(a + ":0-1")
	bad(a + ":5-1")
	bad(a + ":1-9223372036854775807")
	bad(a + ":1,")
	bad(a + ":tag")
	bad(a + ":1:tag")
	bad("3e11fa47-71ca-11e1-9e33-c80aa942956g:1")
	bad("0-1-7")
}

func TestHoles(t *testing.T) {
	const a, b = "3e11fa47-71ca-11e1-9e33-c80aa9429562", "bd4b724b-ab29-11ee-826f-000c294bd026"
	f := func(have, received string, want bool) {
		t.Helper()
		x, errX := parseGTIDSet(have)
		y, errY := parseGTIDSet(received)
		if errX != nil || errY != nil {
			t.Fatalf("%q, %q: %v, %v", have, received, errX, errY)
		}
		if got := x.holes(y); got != want {
			t.Errorf("%q of %q has holes: %v", have, received, got)
		}
	}
	f("", "", false)
	f("", a+":1-5", false)
	f(a+":1-5", a+":1-5", false)
	f(a+":1-3", a+":1-5", false)
	f(a+":1-3:5", a+":1-5", true)
	f(a+":5", a+":1-5", true)
	f(a+":1-3", a+":1-3:7-9", false)   // what was never received is no hole
	f(a+":1-3:7", a+":1-3:7-9", false) // nor does it lie before
	f(a+":1-7", a+":1-5", false)       // it came after received was read
	f(a+":1-5:7", a+":1-5", true)
	f(a+":1-5,"+b+":1-4:6", a+":1-5", false) // not of this channel
	f(a+":1-5,"+b+":1-4:6", a+":1-5,"+b+":1-9", true)
}

func TestTransaction(t *testing.T) {
	const a = "3e11fa47-71ca-11e1-9e33-c80aa9429562"
	f := func(have, want, first string) {
		t.Helper()
		x, errX := parseGTIDSet(have)
		y, errY := parseGTIDSet(want)
		if errX != nil || errY != nil {
			t.Fatalf("%q, %q: %v, %v", have, want, errX, errY)
		}
		var got []string
		for _, one := range x.lacks(y) {
			got = append(got, fmt.Sprintf("%s:%d", one.key, one.n))
			if x.has(one) || !y.has(one) || !x.with(one).has(one) || x.has(one) || x.with(one).missing(y) != x.missing(y)-1 {
				t.Errorf("%q lacks of %q: %v", have, want, one)
			}
		}
		if strings.Join(got, " ") != first {
			t.Errorf("%q lacks of %q: %v, want %q", have, want, got, first)
		}
	}
	f("", "", "")
	f(a+":1-5", a+":1-5", "")
	f(a+":1-5", a+":3-7", a+":6")
	f(a+":1-5:7", a+":1-8", a+":6")
	f("", a+":4:tag:2", a+":4 "+a+":tag:2")

	for _, none := range []string{"", "ANONYMOUS", a, a + ":0", a + ":x", a + ":9223372036854775807"} {
		if one, ok := parseGTID(none); ok {
			t.Errorf("%q is read as %v", none, one)
		}
	}
}

func FuzzGTIDPos(f *testing.F) {
	f.Add("0-1-7,1-2-3", "0-1-9")
	f.Add("", "4294967295-4294967295-18446744073709551615")
	f.Fuzz(func(t *testing.T, have, want string) {
		a, errA := parseGTIDPos(have)
		b, errB := parseGTIDPos(want)
		if errA != nil || errB != nil {
			return
		}
		if a.behind(a, 0) != 0 || b.behind(b, 0) != 0 {
			t.Errorf("%q or %q is behind itself", have, want)
		}
		if a.behind(b, 0) < 0 {
			t.Errorf("%q is %d behind %q", have, a.behind(b, 0), want)
		}
	})
}

func FuzzGTIDSet(f *testing.F) {
	f.Add("3e11fa47-71ca-11e1-9e33-c80aa9429562:1-3:5-8", "3e11fa47-71ca-11e1-9e33-c80aa9429562:tag:1-10")
	f.Add("3e11fa47-71ca-11e1-9e33-c80aa9429562:8:1-9223372036854775806", "")
	f.Fuzz(func(t *testing.T, have, want string) {
		a, errA := parseGTIDSet(have)
		b, errB := parseGTIDSet(want)
		if errA != nil || errB != nil {
			return
		}
		if a.missing(a) != 0 || b.missing(b) != 0 {
			t.Errorf("%q or %q lacks of itself", have, want)
		}
		lacks, all := a.missing(b), gtidSet{}.missing(b)
		if lacks < 0 || lacks > all {
			t.Errorf("%q lacks %d of %q, which has %d", have, lacks, want, all)
		}
		for _, spans := range a {
			for i, s := range spans {
				if s.first > s.last || i > 0 && s.first <= spans[i-1].last+1 {
					t.Errorf("%q has spans %v", have, spans)
				}
			}
		}
	})
}
