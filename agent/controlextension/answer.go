package controlextension

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"unicode"

	"github.com/evenkeel/evenkeel/agent/internal/deadman"
)

// answerLimit is how much of an answer to a heartbeat is read, wordsLimit how much of one is repeated.
const (
	answerLimit = 64 << 10
	wordsLimit  = 200
)

// receipt is the answer to a heartbeat.
type receipt struct {
	T2 int64 `json:"t2_unix_ns"`
	T3 int64 `json:"t3_unix_ns"`
}

// problem is how a server says no.
type problem struct {
	Status int    `json:"status"`
	Code   string `json:"code"`
	Detail string `json:"detail"`
}

// judge says what an answer to a heartbeat proves. Only a receipt is an answer, and only a problem in Evenkeel's own
// words is a refusal: a proxy or a portal may say anything in a server's place. why is empty when it is answered.
func judge(status int, body []byte) (o deadman.Outcome, r receipt, why string) {
	if status == http.StatusOK {
		if json.Unmarshal(body, &r) != nil || r.T2 <= 0 || r.T3 <= 0 {
			return deadman.Silent, receipt{}, "its answer is not the expected JSON"
		}
		return deadman.Answered, r, ""
	}
	why = unexpected(status)
	var p problem
	ours := json.Unmarshal(body, &p) == nil && p.Status == status && p.Code != ""
	switch {
	case status < 400 || status >= 500:
		return deadman.Silent, receipt{}, why
	case !ours:
		return deadman.Silent, receipt{}, why + " (not in Evenkeel's words: something stands in between)"
	case status != http.StatusUnauthorized && status != http.StatusForbidden && p.Detail != "":
		why += ": " + excerpt(p.Detail)
	}
	return deadman.Refused, receipt{}, why
}

// noAnswer is why a request failed, without addresses that change from one attempt to the next.
func noAnswer(err error) error {
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() || errors.Is(err, os.ErrDeadlineExceeded) {
		return errors.New("no answer in time")
	}
	for inner := err; inner != nil; inner = errors.Unwrap(inner) {
		err = inner
	}
	return fmt.Errorf("no answer: %s", excerpt(err.Error()))
}

// excerpt is foreign text in one short line.
func excerpt(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	if runes := []rune(text); len(runes) > wordsLimit {
		return string(runes[:wordsLimit]) + "..."
	}
	return text
}
