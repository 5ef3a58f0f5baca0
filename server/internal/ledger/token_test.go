package ledger

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

func TestTokens(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ledger")
	l := open(t, dir)
	cred, secret, err := l.CreateToken(t.Context(), TokenSite, "fra", nil)
	if err != nil {
		t.Fatal(err)
	}
	text := secret.Reveal()
	if !strings.HasPrefix(text, "evk_site_") || len(text) < len("evk_site_")+43 {
		t.Errorf("the token has %d characters", len(text))
	}
	whose := func(l *Ledger, token string) string {
		t.Helper()
		c, err := l.Authenticate(t.Context(), token)
		if err != nil {
			wantCode(t, err, core.CodeUnauthorized)
			return ""
		}
		return c.Kind + " " + c.Name
	}
	if got := whose(l, text); got != "site fra" {
		t.Errorf("the token is of %q", got)
	}
	for _, wrong := range []string{"", "evk_site_", text + "x", text[:len(text)-1], strings.ToUpper(text)} {
		if whose(l, wrong) != "" {
			t.Errorf("%q is taken for a token", wrong)
		}
	}
	res, err := l.client.Get(t.Context(), keyRoot, clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	for _, kv := range res.Kvs {
		if strings.Contains(string(kv.GetValue()), text[len("evk_site_"):]) {
			t.Errorf("%s holds the text of the token", kv.GetKey())
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, dir)
	if got := whose(l, text); got != "site fra" {
		t.Errorf("after a restart the token is of %q", got)
	}
	if err := l.RevokeToken(t.Context(), cred.ID); err != nil {
		t.Fatal(err)
	}
	if whose(l, text) != "" {
		t.Error("a revoked token is valid")
	}
	wantCode(t, l.RevokeToken(t.Context(), cred.ID), core.CodeNotFound)
	if list, err := l.ListTokens(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("tokens are %v, %v", list, err)
	}
}

func TestTokenExpires(t *testing.T) {
	l := fresh(t)
	cred, secret, err := l.CreateToken(t.Context(), TokenAdmin, "jo", new(time.Now().Add(time.Hour)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Authenticate(t.Context(), secret.Reveal()); err != nil {
		t.Error(err)
	}
	cred.ExpiresAt = new(time.Now().Add(-time.Second))
	l.tokens.set(cred.ID, 1<<40, l.tokens.hash[cred.ID], &cred)
	_, err = l.Authenticate(t.Context(), secret.Reveal())
	wantCode(t, err, core.CodeUnauthorized)
}

func TestTokenRefusesNonsense(t *testing.T) {
	l := fresh(t)
	f := func(kind, name string, expires *time.Time) {
		t.Helper()
		_, secret, err := l.CreateToken(t.Context(), kind, name, expires)
		wantCode(t, err, core.CodeInvalid)
		if secret != "" {
			t.Error("a refused token has a text")
		}
	}
	f("root", "fra", nil)
	f(TokenSite, "", nil)
	f(TokenSite, "Fra", nil)
	f(TokenSite, "fra/ams", nil)
	f(TokenSite, "fra", new(time.Now().Add(-time.Minute)))
}

func TestTokensFollowTheLedger(t *testing.T) {
	l := fresh(t)
	cred, secret, err := l.CreateToken(t.Context(), TokenEdge, "director", nil)
	if err != nil {
		t.Fatal(err)
	}
	key := prefixToken + cred.ID
	res, err := l.client.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	until := func(valid bool) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
			if _, err := l.Authenticate(t.Context(), secret.Reveal()); (err == nil) == valid {
				return
			}
		}
		t.Errorf("the token did not become valid=%v", valid)
	}
	if _, err := l.client.Delete(t.Context(), key); err != nil { // as another replica would
		t.Fatal(err)
	}
	until(false)
	if _, err := l.client.Put(t.Context(), key, string(res.Kvs[0].GetValue())); err != nil {
		t.Fatal(err)
	}
	until(true)
}

func TestStoredTokenIsFlat(t *testing.T) {
	b, err := json.Marshal(storedToken{Credential: core.Credential{ID: "a"}, SHA256: "b"})
	if err != nil || !strings.Contains(string(b), `"sha256":"b"`) || !strings.Contains(string(b), `"id":"a"`) {
		t.Errorf("stored as %s, %v", b, err)
	}
}
