package e2e

import "time"

// The records of the API, as far as a stranger needs them.

// Subject is what a record is about.
type Subject struct {
	Site    string `json:"site"`
	Service string `json:"service"`
}

// Number is one figure of a ruling or a piece of evidence.
type Number struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
}

// Ruling is what one guard said.
type Ruling struct {
	Guard    string   `json:"guard"`
	N        int      `json:"n"`
	Answer   string   `json:"answer"` // pass, object, cannot_tell or bound
	Numbers  []Number `json:"numbers"`
	Sentence string   `json:"sentence"`
}

// Band is what a detector expected and saw.
type Band struct {
	Value    float64 `json:"value"`
	Expected float64 `json:"expected"`
	Lower    float64 `json:"lower"`
	Upper    float64 `json:"upper"`
	Score    float64 `json:"score"`
}

// Evidence is one piece of evidence.
type Evidence struct {
	Class    string    `json:"class"`
	Subject  Subject   `json:"subject"`
	Signal   string    `json:"signal"`
	Source   string    `json:"source"`
	Onset    time.Time `json:"onset"`
	Band     *Band     `json:"band"`
	Sentence string    `json:"sentence"`
}

// Decision is one judgement with the rulings of all guards.
type Decision struct {
	ID        string     `json:"id"`
	EpisodeID string     `json:"episode_id"`
	N         int        `json:"n"`
	Subject   Subject    `json:"subject"`
	At        time.Time  `json:"at"`
	Condition string     `json:"condition"`
	Kind      string     `json:"kind"`
	Policy    string     `json:"policy"`
	Mode      string     `json:"mode"`
	Verdict   string     `json:"verdict"` // act, await_approval, recommend, hold or ignore
	Rulings   []Ruling   `json:"rulings"`
	Evidence  []Evidence `json:"evidence"`
	ActionID  string     `json:"action_id"`
	Sentence  string     `json:"sentence"`
}

// Objections are the rulings that neither pass nor only limit.
func (d Decision) Objections() []Ruling {
	var out []Ruling
	for _, r := range d.Rulings {
		if r.Answer != "pass" && r.Answer != "bound" {
			out = append(out, r)
		}
	}
	return out
}

// Ruling is the named guard's.
func (d Decision) Ruling(guard string) (Ruling, bool) {
	for _, r := range d.Rulings {
		if r.Guard == guard {
			return r, true
		}
	}
	return Ruling{}, false
}

// Episode is one trouble of one subject.
type Episode struct {
	ID        string     `json:"id"`
	Subject   Subject    `json:"subject"`
	Onset     time.Time  `json:"onset"`
	OpenedAt  time.Time  `json:"opened_at"`
	ClosedAt  *time.Time `json:"closed_at"`
	Condition string     `json:"condition"`
	Worst     string     `json:"worst"`
	Kind      string     `json:"kind"`
	Routing   string     `json:"routing"`
	Decisions int        `json:"decisions"`
	ActionIDs []string   `json:"action_ids"`
	Notices   int        `json:"notices"`
	LongestS  float64    `json:"longest_failure_s"`
	Evidence  []Evidence `json:"evidence"`
	Sentence  string     `json:"sentence"`
}

// Traffic is what the edge said of a site.
type Traffic struct {
	Site           string    `json:"site"`
	Service        string    `json:"service"`
	At             time.Time `json:"at"`
	Known          bool      `json:"known"`
	Requests       float64   `json:"requests_s"`
	Count          float64   `json:"count"`
	Share          float64   `json:"share"`
	Success        float64   `json:"success"`
	ServiceSuccess float64   `json:"service_success"`
	ServiceCount   float64   `json:"service_count"`
	Weight         float64   `json:"weight"`
	WeightKnown    bool      `json:"weight_known"`
}

// Attempt is one try to deliver a step.
type Attempt struct {
	N      int       `json:"n"`
	At     time.Time `json:"at"`
	Status int       `json:"status"`
	Result string    `json:"result"`
	Detail string    `json:"detail"`
}

// Step is one step of an action.
type Step struct {
	N          int        `json:"n"`
	Of         int        `json:"of"`
	Target     string     `json:"target"`
	Weight     int        `json:"weight"`
	State      string     `json:"state"`
	IntendedAt *time.Time `json:"intended_at"`
	DoneAt     *time.Time `json:"done_at"`
	EndedAt    *time.Time `json:"ended_at"`
	Attempts   []Attempt  `json:"attempts"`
	After      *Traffic   `json:"after"`
	Sentence   string     `json:"sentence"`
}

// Action is one execution of a plan.
type Action struct {
	ID         string     `json:"id"`
	EpisodeID  string     `json:"episode_id"`
	DecisionID string     `json:"decision_id"`
	Subject    Subject    `json:"subject"`
	Plan       string     `json:"plan"`
	Kind       string     `json:"kind"` // drain or restore
	By         string     `json:"by"`
	State      string     `json:"state"`
	Steps      []Step     `json:"steps"`
	CreatedAt  time.Time  `json:"created_at"`
	EndedAt    *time.Time `json:"ended_at"`
	Sentence   string     `json:"sentence"`
}

// Final reports whether nothing more will happen to it.
func (a Action) Final() bool {
	switch a.State {
	case "succeeded", "ineffective", "failed", "rolled_back", "expired":
		return true
	}
	return false
}

// Notice is one message to people.
type Notice struct {
	ID        string    `json:"id"`
	EpisodeID string    `json:"episode_id"`
	Kind      string    `json:"kind"` // trigger, update or resolve
	Severity  string    `json:"severity"`
	Summary   string    `json:"summary"`
	At        time.Time `json:"at"`
	State     string    `json:"state"`
}

// Line is one sentence of the story.
type Line struct {
	At        time.Time `json:"at"`
	EpisodeID string    `json:"episode_id"`
	Subject   Subject   `json:"subject"`
	Kind      string    `json:"kind"`
	Sentence  string    `json:"sentence"`
	Seq       int64     `json:"seq"`
}

// Assessment is what is said of one subject now.
type Assessment struct {
	Subject   Subject    `json:"subject"`
	Condition string     `json:"condition"`
	Kind      string     `json:"kind"`
	Evidence  []Evidence `json:"evidence"`
	Odd       []Evidence `json:"odd"` // too little to be evidence
	Global    []string   `json:"global"`
	Sentence  string     `json:"sentence"`
}

// Writer is how fresh the inputs of one agent or edge are.
type Writer struct {
	Name  string `json:"name"`
	Kind  string `json:"kind"`
	Fresh bool   `json:"fresh"`
}

// Conditions are the newest observation.
type Conditions struct {
	At   time.Time `json:"at"`
	Tilt struct {
		On     bool   `json:"on"`
		Reason string `json:"reason"`
	} `json:"tilt"`
	Assessments []Assessment `json:"assessments"`
	Traffic     []Traffic    `json:"traffic"`
	Writers     []Writer     `json:"writers"`
	FreshSites  int          `json:"fresh_sites"`
}

// Reply is the answer to an order.
type Reply struct {
	OK       bool   `json:"ok"`
	Code     string `json:"code"`
	Sentence string `json:"sentence"`
	ActionID string `json:"action_id"`
}

// SiteRouting is what was commanded for a service at a site.
type SiteRouting struct {
	Name     string `json:"name"`
	Services []struct {
		Name    string `json:"name"`
		Routing string `json:"routing"`
		Weight  int    `json:"weight"`
	} `json:"services"`
}

// Status is the server's word about itself.
type Status struct {
	ClusterID string `json:"cluster_id"`
	Epoch     int64  `json:"epoch"`
	Revision  int64  `json:"revision"`
	Acting    bool   `json:"acting"`
	Reason    string `json:"reason"`
	Lab       bool   `json:"lab"`
}
