package contract

import (
	"fmt"
	"testing"
	"time"
)

// usersWatch asks for what a drain takes away, by the default model.
const usersWatch = `watches:
  - name: users
    query: sum by (site, target_site, service) (rate(evenkeel_edge_requests_total[10s]))
    about: target_site
    every: 2s
    train: 1h
`

// TestADrainByOrderIsNoNews: a site that an operator drains has no users, which its watch neither takes for trouble nor learns, not over a
// restart in the midst of it either; and when the operator has brought it back the watch judges it as before, as soon as its figures are of the time after.
func TestADrainByOrderIsNoNews(t *testing.T) {
	t.Parallel()
	if *update {
		return
	}
	x := newExecutor(t)
	s := newServer(t)
	text := config(x, usersWatch)
	s.start(text)
	w := newWorld(t, s)
	x.of(w)
	w.past(sites()...)
	until(t, "the past can be read", func() bool {
		got := s.query(`sum(count_over_time(evenkeel_edge_requests_total[70m]))`)
		return len(got) == 1 && got[0].value() >= 2160
	})
	s.stop()
	s.start(text)
	w.run()
	state := func(want float64) func() bool {
		return func() bool {
			got := s.query(`last_over_time(evenkeel_detector_state{detector="users",target_site="fra"}[6s])`)
			return len(got) == 1 && got[0].value() == want
		}
	}
	until(t, "fra is healthy, and its users are as usual", func() bool { return s.condition("fra").Condition == "healthy" && state(2)() })
	routed := func(kind string, n int) {
		until(t, kind+" is done", func() bool {
			all := s.actions()
			return len(all) == n && all[0].Plan == kind && all[0].State == "succeeded"
		})
	}

	ordered := time.Now()
	s.order("drain", "fra", "checkout", "--reason", "drill of March")
	routed("drain", 1)
	until(t, "the users of fra are not judged", state(0))
	s.stop()
	s.start(text)
	restarted := time.Now()
	until(t, "the users of fra are not judged after a restart either", func() bool {
		return time.Since(restarted) > 8*time.Second && state(0)()
	})
	s.order("restore-site", "fra", "checkout", "--reason", "the drill is over")
	routed("restore", 2)
	until(t, "the users of fra are judged as before", func() bool {
		got := s.query(`last_over_time(evenkeel_lower{detector="users",target_site="fra"}[1m])`)
		return state(2)() && len(got) == 1 && got[0].value() > rate/6
	})
	since := time.Since(ordered).Round(time.Second)
	most := fmt.Sprintf(`max(max_over_time(evenkeel_detector_state{detector="users",target_site="fra"}[%s]))`, since)
	if got := s.query(most); len(got) != 1 || got[0].value() == 3 {
		t.Errorf("in %s the watch of fra was at most %v, 3 is an accusation", since, got)
	}
	if a := s.condition("fra"); len(a.Odd) > 0 {
		t.Errorf("fra has %+v", a.Odd)
	}
}
