package remediations

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// Names of the Standard Webhooks headers.
const (
	HeaderID        = standardwebhooks.HeaderWebhookID
	HeaderTimestamp = standardwebhooks.HeaderWebhookTimestamp
	HeaderSignature = standardwebhooks.HeaderWebhookSignature
)

const (
	secretPrefix = "whsec_"
	minKey       = 24 // bytes, by the specification
	maxKey       = 64
)

// Reasons why a signature does not hold.
var (
	ErrNoSignature  = errors.New("webhook headers are missing or malformed")
	ErrBadSignature = errors.New("no signature matches")
	ErrTooOld       = errors.New("timestamp is too old")
	ErrTooNew       = errors.New("timestamp is in the future")
)

// Secret is a shared key that refuses to print. The zero value is no secret and signs nothing.
type Secret struct {
	// A pointer, since fmt walks through unexported fields of an enclosing struct without asking String.
	wh *standardwebhooks.Webhook
}

// ParseSecret reads "whsec_" and standard base64 of 24 to 64 bytes. Surrounding white space is dropped, since
// secrets live in files. The error never quotes the secret.
func ParseSecret(s string) (Secret, error) {
	text, ok := strings.CutPrefix(strings.TrimSpace(s), secretPrefix)
	if !ok {
		return Secret{}, errors.New("secret does not begin with whsec_")
	}
	key, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return Secret{}, errors.New("secret is not standard base64 after whsec_")
	}
	if len(key) < minKey || len(key) > maxKey {
		return Secret{}, fmt.Errorf("secret has %d bytes, want %d to %d", len(key), minKey, maxKey)
	}
	wh, err := standardwebhooks.NewWebhookRaw(key)
	if err != nil {
		return Secret{}, errors.New("secret cannot be used as a key")
	}
	return Secret{wh: wh}, nil
}

// GenerateSecret makes a new secret of 32 random bytes in the form that ParseSecret reads.
func GenerateSecret() string {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails: it ends the program when there is no randomness
	return secretPrefix + base64.StdEncoding.EncodeToString(key)
}

// IsZero reports whether there is no secret.
func (s Secret) IsZero() bool { return s.wh == nil }

func (Secret) String() string { return "[secret]" }

// GoString answers %#v.
func (Secret) GoString() string { return "[secret]" }

// MarshalText answers every encoder.
func (Secret) MarshalText() ([]byte, error) { return []byte("[secret]"), nil }

// Format answers every verb, so that %d does not walk into the fields either.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "[secret]") }

// Sign sets the three headers of one attempt at the time at: one signature per secret, newest secret first.
func Sign(h http.Header, id string, at time.Time, body []byte, secrets ...Secret) error {
	if len(secrets) == 0 {
		return errors.New("no secret to sign with")
	}
	signatures := make([]string, 0, len(secrets))
	for _, s := range secrets {
		if s.IsZero() {
			return errors.New("an empty secret signs nothing")
		}
		sig, err := s.wh.Sign(id, at, body)
		if err != nil {
			return fmt.Errorf("sign %s: %w", id, err)
		}
		signatures = append(signatures, sig)
	}
	h.Set(HeaderID, id)
	h.Set(HeaderTimestamp, strconv.FormatInt(at.Unix(), 10))
	h.Set(HeaderSignature, strings.Join(signatures, " "))
	return nil
}

// Verify checks that one of the secrets signed the body and that the timestamp is within tolerance of now, in
// both directions. The comparison takes constant time. Errors are ErrNoSignature, ErrBadSignature, ErrTooOld and
// ErrTooNew; time is judged after the signature, so that a stranger learns nothing of our clock.
func Verify(h http.Header, body []byte, now time.Time, tolerance time.Duration, secrets ...Secret) error {
	id, stamp := h.Get(HeaderID), h.Get(HeaderTimestamp)
	unix, err := strconv.ParseInt(stamp, 10, 64)
	if ValidID(id) != nil || err != nil || h.Get(HeaderSignature) == "" {
		return ErrNoSignature
	}
	matched := false
	for _, s := range secrets {
		// Every secret is tried, so that the time does not tell which one matched.
		if !s.IsZero() && s.wh.VerifyIgnoringTimestamp(body, h) == nil {
			matched = true
		}
	}
	if !matched {
		return ErrBadSignature
	}
	// Whole seconds, since that is all the header carries; and no time.Time arithmetic, which saturates for
	// absurd values.
	lag := now.Unix() - unix
	limit := int64(tolerance / time.Second)
	switch {
	case unix < 0 || lag > limit:
		return ErrTooOld
	case unix > now.Unix()+limit:
		return ErrTooNew
	}
	return nil
}
