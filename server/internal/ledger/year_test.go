package ledger

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// A year of episodes (four months in the short form), five a day with their decisions, actions, notices and lines, trimmed every day: the ledger holds
// the last 90 days, the archive all that is older, each record once.
func TestAYearOfEpisodes(t *testing.T) {
	l := fresh(t)
	const perDay = 5
	days := 120
	if os.Getenv("E2E_LONG") == "1" {
		days = 365
	}
	var archive bytes.Buffer
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	began := time.Now()
	var commits, trims time.Duration
	var peak float64
	for day := range days {
		for n := range perDay {
			c := time.Now()
			commit(t, l, episodeOf(start.AddDate(0, 0, day).Add(time.Duration(n)*4*time.Hour), day*perDay+n)...)
			commits += time.Since(c)
		}
		c := time.Now()
		for {
			n, err := l.Trim(t.Context(), start.AddDate(0, 0, day+1).Add(-KeepFor), &archive)
			if err != nil {
				t.Fatal(err)
			}
			if n == 0 {
				break
			}
		}
		trims += time.Since(c)
		peak = max(peak, l.sizeOnDisk())
	}
	episodes, err := l.Episodes(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if want := 90 * perDay; len(episodes) < want || len(episodes) > want+perDay {
		t.Errorf("%d episodes are left, want %d", len(episodes), want)
	}
	archived := map[string]int{}
	s := bufio.NewScanner(&archive)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		var e exported
		if err := json.Unmarshal(s.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		archived[e.Key]++
		if archived[e.Key] > 1 {
			t.Fatalf("%s is archived twice", e.Key)
		}
	}
	count := 0
	for key := range archived {
		if strings.HasPrefix(key, prefixEpisode) {
			count++
		}
	}
	if count+len(episodes) != perDay*days {
		t.Errorf("%d archived and %d kept are not %d", count, len(episodes), perDay*days)
	}
	c := time.Now()
	if _, err := l.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Logf("ledger_year_commit %.2f ms", commits.Seconds()*1000/float64(perDay*days))
	t.Logf("ledger_year_trim %.1f ms/day", trims.Seconds()*1000/float64(days))
	t.Logf("ledger_year_size %.1f MB at most", peak/1e6)
	t.Logf("ledger_year_load %.0f ms", time.Since(c).Seconds()*1000)
	t.Logf("ledger_year_wall %.1f s for %d records archived", time.Since(began).Seconds(), len(archived))
}

// episodeOf is everything that one closed episode leaves: about fifty records of the usual size.
func episodeOf(at time.Time, n int) []core.Change {
	id, subject := fmt.Sprintf("ep_%06d", n), core.Subject{Site: "fra", Service: "checkout"}
	end := at.Add(30 * time.Minute)
	text := strings.Repeat("checkout at fra: failing - outside 2/2, symptom timeout, silence. ", 3)
	var rulings []core.Ruling
	for g := range 19 {
		rulings = append(rulings, core.Ruling{Guard: fmt.Sprintf("guard-%d", g), N: g, Sentence: text[:100]})
	}
	out := []core.Change{{Episode: &core.Episode{ID: id, Subject: subject, OpenedAt: at, ClosedAt: &end, Sentence: text}}}
	for d := range 6 {
		out = append(out, core.Change{Decision: &core.Decision{ID: fmt.Sprintf("%s_d%d", id, d), EpisodeID: id, N: d, Subject: subject, At: at, Rulings: rulings, Sentence: text}})
	}
	for a := range 2 {
		action := fmt.Sprintf("act_%06d_%d", n, a)
		out = append(out, core.Change{Action: &core.Action{ID: action, EpisodeID: id, Subject: subject, State: core.ActionSucceeded, CreatedAt: at, EndedAt: &end, Sentence: text}})
		for s := range 4 {
			out = append(out, core.Change{Intent: &core.Intent{ID: fmt.Sprintf("%s_%d", action, s), ActionID: action, EpisodeID: id, Subject: subject, At: at}})
		}
	}
	for k := range 3 {
		out = append(out, core.Change{Notice: &core.Notice{ID: fmt.Sprintf("%s_n%d", id, k), EpisodeID: id, N: k, Summary: text, At: at, State: "sent"}})
	}
	for range 30 {
		out = append(out, core.Change{Line: &core.Line{At: at, EpisodeID: id, Subject: subject, Kind: "decision", Sentence: text}})
	}
	return out
}

// What cannot be archived is not removed.
func TestAnArchiveThatFailsKeepsTheRecords(t *testing.T) {
	l := fresh(t)
	commit(t, l, episodeOf(time.Now().AddDate(-1, 0, 0), 1)...)
	if _, err := l.Trim(t.Context(), time.Now().Add(-KeepFor), full{}); err == nil {
		t.Error("no error")
	}
	if e, err := l.Episodes(t.Context(), 0); err != nil || len(e) != 1 {
		t.Errorf("%d episodes are left, %v", len(e), err)
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }
