package cli

import "testing"

func TestPrintable(t *testing.T) {
	if got := printable("a\x1b[2J\u0090\u009b\r\n\u202e\u2066Grüße"); got != "a[2JGrüße" {
		t.Errorf("got %q", got)
	}
}
