package contract

import "time"

// The records of the API, as far as these tests look at them.
type (
	subject struct {
		Site    string `json:"site"`
		Service string `json:"service"`
	}
	episode struct {
		ID         string     `json:"id"`
		Subject    subject    `json:"subject"`
		ClosedAt   *time.Time `json:"closed_at"`
		Condition  string     `json:"condition"`
		DecisionID string     `json:"decision_id"`
		ActionIDs  []string   `json:"action_ids"`
		Sentence   string     `json:"sentence"`
	}
	attempt struct {
		N      int    `json:"n"`
		Status int    `json:"status"`
		Result string `json:"result"`
		Detail string `json:"detail"`
	}
	notice struct {
		ID       string    `json:"id"`
		N        int       `json:"n"`
		Kind     string    `json:"kind"`
		DedupKey string    `json:"dedup_key"`
		Summary  string    `json:"summary"`
		State    string    `json:"state"`
		Attempts []attempt `json:"attempts"`
	}
	ruling struct {
		Guard    string `json:"guard"`
		Answer   string `json:"answer"`
		Sentence string `json:"sentence"`
	}
	decision struct {
		ID       string   `json:"id"`
		Verdict  string   `json:"verdict"`
		Sentence string   `json:"sentence"`
		Rulings  []ruling `json:"rulings"`
	}
	action struct {
		ID       string  `json:"id"`
		Subject  subject `json:"subject"`
		Plan     string  `json:"plan"`
		State    string  `json:"state"`
		Sentence string  `json:"sentence"`
		Steps    []struct {
			State    string    `json:"state"`
			Attempts []attempt `json:"attempts"`
		} `json:"steps"`
	}
	evidence struct {
		Class  string `json:"class"`
		Signal string `json:"signal"`
		Source string `json:"source"`
		Band   *struct {
			Value    float64 `json:"value"`
			Expected float64 `json:"expected"`
			Lower    float64 `json:"lower"`
			Upper    float64 `json:"upper"`
			Score    float64 `json:"score"`
		} `json:"band"`
		Sentence string `json:"sentence"`
	}
	assessment struct {
		Subject   subject    `json:"subject"`
		Condition string     `json:"condition"`
		Kind      string     `json:"kind"`
		Evidence  []evidence `json:"evidence"`
		Odd       []evidence `json:"odd"` // what is odd by statistics and not enough to be evidence
		Sentence  string     `json:"sentence"`
	}
)

// condition is what the server says of checkout at a site now.
func (s *server) condition(site string) assessment {
	s.t.Helper()
	var o struct {
		Assessments []assessment `json:"assessments"`
	}
	s.get("/api/v1/conditions", &o)
	for _, a := range o.Assessments {
		if a.Subject.Site == site {
			return a
		}
	}
	return assessment{}
}

func (s *server) episodes() []episode {
	s.t.Helper()
	var out []episode
	s.get("/api/v1/episodes?limit=100", &out)
	return out
}

func (s *server) notices(episodeID string) []notice {
	s.t.Helper()
	var out []notice
	s.get("/api/v1/episodes/"+episodeID+"/notices", &out)
	return out
}

func (s *server) actions() []action {
	s.t.Helper()
	var out []action
	s.get("/api/v1/actions?limit=20", &out)
	return out
}
