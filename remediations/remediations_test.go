package remediations_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/remediations"
	"github.com/evenkeel/evenkeel/remediations/remediationtest"
)

const vectorSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

func secret(t testing.TB, text string) remediations.Secret {
	t.Helper()
	s, err := remediations.ParseSecret(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The vector of the Standard Webhooks reference libraries.
func TestVector(t *testing.T) {
	h := http.Header{}
	at, body := time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`)
	if err := remediations.Sign(h, "msg_p5jXN8AQM9LWM0D4loKWxJek", at, body, secret(t, vectorSecret)); err != nil {
		t.Fatal(err)
	}
	if got, want := h.Get("webhook-signature"), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("signature %s, want %s", got, want)
	}
	if got := h.Get("webhook-timestamp"); got != "1614265330" {
		t.Errorf("timestamp %s", got)
	}
	f := func(now time.Time, want error) {
		t.Helper()
		if err := remediations.Verify(h, body, now, 300*time.Second, secret(t, vectorSecret)); !errors.Is(err, want) {
			t.Errorf("at %s: %v, want %v", now, err, want)
		}
	}
	f(at, nil)
	f(at.Add(300*time.Second), nil)
	f(at.Add(-300*time.Second), nil)
	f(at.Add(301*time.Second), remediations.ErrTooOld)
	f(at.Add(-301*time.Second), remediations.ErrTooNew)
	for _, stamp := range []string{"9223372036854775807", "-9223372036854775808", "-1"} {
		var unix int64
		_, _ = fmt.Sscan(stamp, &unix)
		if err := remediations.Sign(h, "m", time.Unix(unix, 0), body, secret(t, vectorSecret)); err != nil {
			t.Fatal(err)
		}
		if err := remediations.Verify(h, body, at, 300*time.Second, secret(t, vectorSecret)); err == nil {
			t.Errorf("timestamp %s is accepted", stamp)
		}
	}
}

func TestVerifyWantsASecret(t *testing.T) {
	h := http.Header{}
	if err := remediations.Sign(h, "m", time.Now(), nil, secret(t, vectorSecret)); err != nil {
		t.Fatal(err)
	}
	if err := remediations.Verify(h, nil, time.Now(), time.Minute); !errors.Is(err, remediations.ErrBadSignature) {
		t.Errorf("no secret: %v", err)
	}
	if err := remediations.Verify(h, nil, time.Now(), time.Minute, remediations.Secret{}); !errors.Is(err, remediations.ErrBadSignature) {
		t.Errorf("empty secret: %v", err)
	}
	if err := remediations.Sign(h, "m", time.Now(), nil, remediations.Secret{}); err == nil {
		t.Error("an empty secret signs")
	}
}

func TestSecretRefusesToPrint(t *testing.T) {
	s := secret(t, vectorSecret)
	nested := struct {
		inner struct{ s remediations.Secret }
	}{}
	nested.inner.s = s
	b, err := json.Marshal(map[string]any{"s": s})
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("%v %+v %#v %s %x %d %q %v %+v %#v %d", s, s, s, s, s, s, s, nested, nested, nested, nested) + string(b)
	for _, part := range []string{"MfKQ9r8G", "49 242 144", "31f290", "0x31"} {
		if strings.Contains(text, part) {
			t.Errorf("printed %q", part)
		}
	}
}

func TestParseSecret(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		_, err := remediations.ParseSecret(text)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%d characters: %v, want %q", len(text), err, want)
		}
	}
	f(vectorSecret, "")
	f(" "+vectorSecret+"\n", "")
	f(remediations.GenerateSecret(), "")
	f("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_")
	f("whsec_", "0 bytes")
	f("whsec_????", "base64")
	f("whsec_"+strings.Repeat("A", 28), "21 bytes")
	f("whsec_"+strings.Repeat("A", 88), "66 bytes")
	f("whsk_"+strings.Repeat("A", 40), "whsec_")
}

func TestBody(t *testing.T) {
	at := time.Date(2026, 9, 1, 12, 0, 3, 0, time.FixedZone("CEST", 7200))
	r := remediations.Request{
		ID: "act_01j_1", Type: remediations.TypeDrain, At: at,
		Data: remediations.Data{
			ActionID: "act_01j", EpisodeID: "ep_01j", Site: "fra1", Service: "checkout", DesiredState: "drained",
			Scope: []string{"reads", "writes"}, Seq: 412,
			Fencing: remediations.Fencing{ClusterID: "c_7f3a", Epoch: 17, Seq: 412}, Mode: "automatic",
			NotBefore: at, NotAfter: at.Add(2 * time.Minute), ExpiresAt: at.Add(4 * time.Hour),
			Step:         remediations.Step{N: 1, Of: 3, Weight: 50},
			Precondition: remediations.Precondition{CurrentState: "active", MinActiveSites: 2},
			Reason:       remediations.Reason{Summary: "dead", EvidenceURL: "https://ek.example.net/e/1"},
			CallbackURL:  "https://ek.example.net/cb",
		},
	}
	b, err := r.Body()
	if err != nil {
		t.Fatal(err)
	}
	want := `{"type":"action.site.drain","timestamp":"2026-09-01T10:00:03Z","data":{` +
		`"action_id":"act_01j","episode_id":"ep_01j","site":"fra1","service":"checkout","unit":"","desired_state":"drained","scope":["reads","writes"],` +
		`"seq":412,"fencing":{"cluster_id":"c_7f3a","epoch":17,"seq":412},"mode":"automatic","dry_run":false,` +
		`"not_before":"2026-09-01T10:00:03Z","not_after":"2026-09-01T10:02:03Z","expires_at":"2026-09-01T14:00:03Z","step":{"n":1,"of":3,"weight":50},` +
		`"precondition":{"current_state":"active","min_active_sites":2},` +
		`"reason":{"summary":"dead","evidence_url":"https://ek.example.net/e/1"},"callback_url":"https://ek.example.net/cb"}}`
	if string(b) != want {
		t.Errorf("body\n%s\nwant\n%s", b, want)
	}
	if !r.At.Equal(at) || r.Data.NotAfter.Location() != at.Location() {
		t.Error("Body changed its receiver")
	}
	back, err := remediations.ParseRequest(r.ID, b)
	if err != nil {
		t.Fatal(err)
	}
	again, err := back.Body()
	if err != nil || string(again) != want {
		t.Errorf("after a round trip: %s, %v", again, err)
	}
}

func TestValidate(t *testing.T) {
	f := func(change func(*remediations.Request), want string) {
		t.Helper()
		r := remediationtest.Drain("c_1", "fra", "checkout", 7, 0)
		change(&r)
		if _, err := r.Body(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one that says %q", err, want)
		}
	}
	f(func(r *remediations.Request) { r.ID = "" }, "webhook-id")
	f(func(r *remediations.Request) { r.ID = "a.b" }, "webhook-id")
	f(func(r *remediations.Request) { r.ID = "a\nb" }, "webhook-id")
	f(func(r *remediations.Request) { r.ID = strings.Repeat("a", 257) }, "webhook-id")
	f(func(r *remediations.Request) { r.Type = "action.site.explode" }, "type")
	f(func(r *remediations.Request) { r.Data.DesiredState = "active" }, "does not fit")
	f(func(r *remediations.Request) { r.Type = remediations.TypeRestore }, "does not fit")
	f(func(r *remediations.Request) { r.At = time.Time{} }, "timestamp")
	f(func(r *remediations.Request) { r.Data.ActionID = "" }, "action_id")
	f(func(r *remediations.Request) { r.Data.Site = "" }, "site")
	f(func(r *remediations.Request) { r.Data.Service = "" }, "service")
	f(func(r *remediations.Request) { r.Data.NotAfter = time.Time{} }, "not_after")
	f(func(r *remediations.Request) { r.Data.Fencing.ClusterID = "" }, "cluster_id")
	f(func(r *remediations.Request) { r.Data.Fencing.Epoch = 0 }, "count from 1")
	f(func(r *remediations.Request) { r.Data.Seq = 8 }, "differs")
	f(func(r *remediations.Request) { r.Data.Step.Weight = 101 }, "weight")
	f(func(r *remediations.Request) { r.Data.Step.N = 0 }, "step 0 of 1")
	f(func(r *remediations.Request) { r.Data.Precondition.MinActiveSites = -1 }, "min_active_sites")
	f(func(r *remediations.Request) { r.Data.Reason.Summary = strings.Repeat("x", 20_000) }, "the limit is")
}

func TestErrorsAs(t *testing.T) {
	cause := errors.New("cause")
	f := func(err error, into any) {
		t.Helper()
		wrapped := fmt.Errorf("deliver: %w", err)
		if !errors.As(wrapped, into) || !errors.Is(wrapped, cause) {
			t.Errorf("%T is not found in its wrapping", err)
		}
	}
	f(&remediations.Transient{Err: cause}, new(*remediations.Transient))
	f(&remediations.Permanent{Err: cause}, new(*remediations.Permanent))
	f(&remediations.Unknown{Err: cause}, new(*remediations.Unknown))
}

func TestStateText(t *testing.T) {
	for s := remediations.StateUnknown; s <= remediations.StateExpired; s++ {
		var back remediations.State
		if err := back.UnmarshalText([]byte(s.String())); err != nil || back != s {
			t.Errorf("%s comes back as %s, %v", s, back, err)
		}
	}
	if err := new(remediations.State).UnmarshalText([]byte("perhaps")); err == nil {
		t.Error("an unknown word is accepted")
	}
}

func FuzzParseSecret(f *testing.F) {
	f.Add(vectorSecret)
	f.Add("whsec_")
	f.Add("whsec_\n====")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := remediations.ParseSecret(text)
		if (err == nil) == s.IsZero() {
			t.Fatalf("secret %v with error %v", s.IsZero(), err)
		}
		if err != nil && len(text) > 20 && strings.Contains(err.Error(), text) {
			t.Fatal("the error quotes the secret")
		}
	})
}

func FuzzParseRequest(f *testing.F) {
	b, err := remediationtest.Drain("c_1", "fra", "checkout", 7, 0).Body()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"data":{"not_after":"9999-12-31T23:59:59.999999999-23:59"}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := remediations.ParseRequest("act_1_1", b)
		if err != nil {
			return
		}
		out, err := r.Body()
		if err != nil {
			return // grew past the limit by escaping, or a year that RFC 3339 cannot write
		}
		again, err := remediations.ParseRequest("act_1_1", out)
		if err != nil {
			t.Fatalf("own body %s: %v", out, err)
		}
		if third, err := again.Body(); err != nil || !reflect.DeepEqual(out, third) {
			t.Fatalf("not stable: %s, then %s, %v", out, third, err)
		}
	})
}

func ExampleSign() {
	secret, err := remediations.ParseSecret(vectorSecret)
	if err != nil {
		fmt.Println(err)
		return
	}
	h := http.Header{}
	if err := remediations.Sign(h, "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`), secret); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(h.Get(remediations.HeaderSignature))
	fmt.Println(secret)
	// Output:
	// v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=
	// [secret]
}
