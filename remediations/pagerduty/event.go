package pagerduty

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// Limits of the Events API v2.
const (
	MaxSummary  = 1024    // characters
	MaxDedupKey = 255     // characters
	MaxEvent    = 512_000 // bytes of the whole body
)

// Action is what an event does to the alert of its deduplication key.
type Action uint8

// Actions. An update is a trigger for an alert that is open: PagerDuty appends it.
const (
	ActionUnknown Action = iota
	Trigger
	Update
	Resolve
)

// String is the name in the documentation; on the wire an update is a trigger.
func (a Action) String() string {
	switch a {
	case Trigger:
		return "trigger"
	case Update:
		return "update"
	case Resolve:
		return "resolve"
	case ActionUnknown:
	}
	return "unknown"
}

func (a Action) wire() string {
	if a == Update {
		return Trigger.String()
	}
	return a.String()
}

// Severities of an event.
const (
	Critical = "critical"
	Error    = "error"
	Warning  = "warning"
	Info     = "info"
)

// Event is one message about one alert. A resolve needs only its DedupKey.
type Event struct {
	Action    Action
	DedupKey  string // required: see DedupKey
	Summary   string // required but for a resolve
	Source    string // required but for a resolve: the affected thing
	Severity  string // required but for a resolve
	Timestamp time.Time
	Component string
	Group     string
	Class     string
	Details   []Detail // most important first
	Links     []Link
	Images    []Image
	Client    string // name of the sender
	ClientURL string
}

// Detail is one name and value of custom_details.
type Detail struct{ Name, Value string }

// Link is a link shown with the alert.
type Link struct {
	Href string `json:"href"`
	Text string `json:"text,omitempty"`
}

// Image is a picture shown with the alert; Src must be https.
type Image struct {
	Src  string `json:"src"`
	Href string `json:"href,omitempty"`
	Alt  string `json:"alt,omitempty"`
}

// DedupKey is the key of one episode: the same for its trigger, its updates and its resolve. It has at most 255
// characters and stays unique when the parts are longer than that.
func DedupKey(site, kind, episodeID string) string {
	return fitKey("evenkeel:" + site + ":" + kind + ":" + episodeID)
}

func fitKey(key string) string {
	if utf8.RuneCountInString(key) <= MaxDedupKey {
		return key
	}
	sum := sha256.Sum256([]byte(key))
	return string([]rune(key)[:200]) + "-" + hex.EncodeToString(sum[:])[:32]
}

func (e Event) validate() error {
	switch {
	case e.Action != Trigger && e.Action != Update && e.Action != Resolve:
		return errors.New("event has no action")
	case e.DedupKey == "":
		return errors.New("event has no deduplication key: each attempt would open an alert of its own")
	case e.Action == Resolve:
		return nil
	case strings.TrimSpace(e.Summary) == "":
		return errors.New("event has no summary")
	case e.Source == "":
		return errors.New("event has no source")
	}
	switch e.Severity {
	case Critical, Error, Warning, Info:
		return nil
	}
	return fmt.Errorf("severity %q is not one of critical, error, warning, info", e.Severity)
}

type wireEvent struct {
	RoutingKey  string       `json:"routing_key"`
	EventAction string       `json:"event_action"`
	DedupKey    string       `json:"dedup_key"`
	Payload     *wirePayload `json:"payload,omitempty"`
	Images      []Image      `json:"images,omitempty"`
	Links       []Link       `json:"links,omitempty"`
	Client      string       `json:"client,omitempty"`
	ClientURL   string       `json:"client_url,omitempty"`
}

type wirePayload struct {
	Summary       string    `json:"summary"`
	Source        string    `json:"source"`
	Severity      string    `json:"severity"`
	Timestamp     time.Time `json:"timestamp,omitzero"`
	Component     string    `json:"component,omitempty"`
	Group         string    `json:"group,omitempty"`
	Class         string    `json:"class,omitempty"`
	CustomDetails details   `json:"custom_details,omitempty"`
}

// details are written as an object that keeps their order.
type details []Detail

// MarshalJSON writes {"name":"value",...}.
func (d details) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, kv := range d {
		if i > 0 {
			b.WriteByte(',')
		}
		for j, text := range []string{kv.Name, kv.Value} {
			if j == 1 {
				b.WriteByte(':')
			}
			quoted, err := json.Marshal(text)
			if err != nil {
				return nil, err
			}
			b.Write(quoted)
		}
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// body is the event as it is sent, within all limits.
func (e Event) body(key string) ([]byte, error) {
	if err := e.validate(); err != nil {
		return nil, err
	}
	w := wireEvent{RoutingKey: key, EventAction: e.Action.wire(), DedupKey: fitKey(e.DedupKey)}
	if e.Action != Resolve {
		w.Payload = &wirePayload{
			Summary: cut(e.Summary), Source: cut(e.Source), Severity: e.Severity,
			Component: cut(e.Component), Group: cut(e.Group), Class: cut(e.Class),
			CustomDetails: details(e.Details),
		}
		if !e.Timestamp.IsZero() {
			w.Payload.Timestamp = e.Timestamp.UTC()
		}
		w.Links, w.Images = e.Links, e.Images
		w.Client = cut(e.Client)
		if len(e.ClientURL) <= 2*MaxSummary { // half a URL leads nowhere
			w.ClientURL = e.ClientURL
		}
	}
	b, err := json.Marshal(w)
	if err != nil || len(b) <= MaxEvent {
		return b, err
	}
	return shrink(w)
}

// shrink drops what matters least until the event fits: details from the end, links, images.
func shrink(w wireEvent) ([]byte, error) {
	all := w.Payload.CustomDetails
	for keep := len(all) / 2; ; keep /= 2 {
		left := fmt.Sprintf("%d of %d details did not fit", len(all)-keep, len(all))
		w.Payload.CustomDetails = append(all[:keep:keep], Detail{Name: "evenkeel_left_out", Value: left})
		if len(all) == 0 {
			w.Payload.CustomDetails = nil
		}
		if b, err := json.Marshal(w); err != nil || len(b) <= MaxEvent {
			return b, err
		}
		if keep == 0 {
			break
		}
	}
	w.Links = nil
	if b, err := json.Marshal(w); err != nil || len(b) <= MaxEvent {
		return b, err
	}
	w.Images = nil
	b, err := json.Marshal(w)
	if err == nil && len(b) > MaxEvent {
		err = fmt.Errorf("event has %d bytes without details, links and images, the limit is %d", len(b), MaxEvent)
	}
	return b, err
}

// cut shortens to MaxSummary characters.
func cut(text string) string {
	text = strings.ToValidUTF8(text, "?")
	if utf8.RuneCountInString(text) <= MaxSummary {
		return text
	}
	return string([]rune(text)[:MaxSummary-3]) + "..."
}
