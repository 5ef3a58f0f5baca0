package webhook_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/evenkeel/evenkeel/remediations"
	"github.com/evenkeel/evenkeel/remediations/remediationtest"
	"github.com/evenkeel/evenkeel/remediations/webhook"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func secret(t testing.TB, text string) remediations.Secret {
	t.Helper()
	s, err := remediations.ParseSecret(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestContract(t *testing.T) {
	remediationtest.TestTarget(t, func(t *testing.T, url string, secrets ...string) remediations.Target {
		o := webhook.Options{URL: url, AllowPrivate: true}
		for _, s := range secrets {
			o.Secrets = append(o.Secrets, secret(t, s))
		}
		target, err := webhook.New(o)
		if err != nil {
			t.Fatal(err)
		}
		return target
	})
}

func TestOptions(t *testing.T) {
	s := secret(t, remediations.GenerateSecret())
	f := func(o webhook.Options, want string) {
		t.Helper()
		if _, err := webhook.New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one that says %q", err, want)
		}
	}
	one := []remediations.Secret{s}
	f(webhook.Options{Secrets: one}, "https://host/path")
	f(webhook.Options{URL: "https://u:p@example.net/", Secrets: one}, "remove them")
	f(webhook.Options{URL: "http://example.net/", Secrets: one}, "allow_private")
	f(webhook.Options{URL: "ftp://example.net/", Secrets: one}, "want https")
	f(webhook.Options{URL: "https://example.net/"}, "0 secrets")
	f(webhook.Options{URL: "https://example.net/", Secrets: []remediations.Secret{s, s, s}}, "3 secrets")
	f(webhook.Options{URL: "https://example.net/", Secrets: []remediations.Secret{{}}}, "secret 1 is empty")
	f(webhook.Options{URL: "https://example.net/", Secrets: one, Timeout: -1}, "below 0")
}

func TestGuardBlocks(t *testing.T) {
	f := func(url string, private bool) {
		t.Helper()
		target, err := webhook.New(webhook.Options{
			URL: url, Secrets: []remediations.Secret{secret(t, remediations.GenerateSecret())}, AllowPrivate: private,
		})
		if err != nil {
			t.Fatal(err)
		}
		_, err = target.Do(t.Context(), remediationtest.Drain("c_1", "fra", "checkout", 1, 0))
		var never *remediations.Permanent
		if !errors.As(err, &never) || !strings.Contains(err.Error(), "blocked") {
			t.Errorf("%s: error %v, want a block", url, err)
		}
	}
	f("https://127.0.0.1:1/", false)
	f("https://localhost:1/", false)
	f("https://10.1.2.3/", false)
	f("https://[::1]:1/", false)
	f("https://[::ffff:10.1.2.3]/", false)
	f("https://[fd00::1]/", false)
	f("http://169.254.169.254/latest/meta-data/", true)
	f("http://[::ffff:169.254.169.254]/", true)
	f("http://[fd00:ec2::254]/", true)
	f("http://100.100.100.200/", true)
	f("http://[fe80::1%25lo]:1/", true)
	f("http://0.0.0.0:1/", true)
}

// A token in the URL must not come back in an error.
func TestErrorsDoNotRepeatTheURL(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	url := s.URL
	s.Close()
	target, err := webhook.New(webhook.Options{
		URL: url + "/hook?token=hush", Secrets: []remediations.Secret{secret(t, remediations.GenerateSecret())}, AllowPrivate: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := target.Do(t.Context(), remediationtest.Drain("c_1", "fra", "checkout", 1, 0)); err == nil || strings.Contains(err.Error(), "hush") {
		t.Errorf("error %v, want one without the token", err)
	}
}

// An unknown certificate will not become known by trying again.
func TestUnknownCertificate(t *testing.T) {
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Config.ErrorLog = nil
	s.StartTLS()
	defer s.Close()
	target, err := webhook.New(webhook.Options{
		URL: s.URL, Secrets: []remediations.Secret{secret(t, remediations.GenerateSecret())}, AllowPrivate: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	var never *remediations.Permanent
	if _, err := target.Do(t.Context(), remediationtest.Drain("c_1", "fra", "checkout", 1, 0)); !errors.As(err, &never) {
		t.Errorf("error %T %v, want *Permanent", err, err)
	}
}

func TestAnswerWithOddTypes(t *testing.T) {
	f := func(body string, want remediations.State, weight bool) {
		t.Helper()
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, body) }))
		defer s.Close()
		target, err := webhook.New(webhook.Options{
			URL: s.URL, Secrets: []remediations.Secret{secret(t, remediations.GenerateSecret())}, AllowPrivate: true,
		})
		if err != nil {
			t.Fatal(err)
		}
		rc, _ := target.Do(t.Context(), remediationtest.Drain("c_1", "fra", "checkout", 1, 0))
		if rc.State != want || (rc.Weight != nil) != weight {
			t.Errorf("%s: receipt %+v, want %s", body, rc, want)
		}
	}
	f(`{"weight":"50","state":"accepted"}`, remediations.StateAccepted, false)
	f(`{"state":"done","weight":-3}`, remediations.StateDone, false)
	f(`{"state":"failed"}`, remediations.StateUnknown, false)
	f(`"done"`, remediations.StateDone, false)
	f(`null`, remediations.StateDone, false)
}

func ExampleTarget_Do() {
	executor := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusPreconditionFailed)
		_, _ = fmt.Fprint(w, `{"refused_by":"last-site","detail":"no other site would serve checkout"}`)
	}))
	defer executor.Close()
	secret, err := remediations.ParseSecret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		fmt.Println(err)
		return
	}
	target, err := webhook.New(webhook.Options{
		URL: executor.URL, Secrets: []remediations.Secret{secret}, AllowPrivate: true,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	receipt, err := target.Do(context.Background(), remediationtest.Drain("c_7f3a", "fra", "checkout", 412, 50))
	fmt.Println(receipt.State, receipt.RefusedBy, receipt.Detail, err)
	// Output: refused last-site no other site would serve checkout <nil>
}
