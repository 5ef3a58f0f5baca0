package core

import (
	"cmp"
	"fmt"
	"iter"
	"regexp"
	"strconv"
	"time"
)

// DeclaredChange is what somebody says is being changed: a deploy, a migration. It is data, for people and for those who
// judge; the most that it does is to make them wait: longer, or for as long as it is under way when it is a maintenance.
type DeclaredChange struct {
	ID         string    `json:"id"`
	Site       string    `json:"site"`
	Service    string    `json:"service"` // all: the whole site
	What       string    `json:"what"`
	Source     string    `json:"source"` // what declared it, as "ci" or "dpkg"
	Start      time.Time `json:"start"`
	End        time.Time `json:"end"`
	By         string    `json:"by"` // whose token it was
	DeclaredAt time.Time `json:"declared_at"`
	// Maintenance says that people work at the subject: nothing moves its users, or others to it, by itself.
	Maintenance bool `json:"maintenance,omitempty"`
	// Incident says that it is no change but trouble that nobody declared, told of when it is over: detectors are not to learn
	// from it. Nothing that judges or decides hears of it.
	Incident bool      `json:"incident,omitempty"`
	EndedAt  time.Time `json:"ended_at,omitzero"`  // when somebody ended it, before its end; its start when an incident was taken back
	EndedBy  string    `json:"ended_by,omitempty"` // whose token that was
}

// ToldChange says of a declared change that the story has told of it, so that no restart and no other leader tells it again.
type ToldChange struct {
	Site string `json:"site"`
	ID   string `json:"id"`
	Over bool   `json:"over"` // and that it is over
}

// Bounds of a declared change. A window without end would be a switch that turns judging down for good.
const (
	ChangeLongest      = 24 * time.Hour
	MaintenanceLongest = 72 * time.Hour
	ChangeEarly        = 7 * 24 * time.Hour  // how long before its start it may be declared
	ChangeLate         = 24 * time.Hour      // how long after its start
	IncidentLate       = 60 * 24 * time.Hour // the same of an incident; the ledger keeps it for 90 days
	changeText         = 200                 // bytes
)

// At reports whether the change is under way at a time.
func (c DeclaredChange) At(at time.Time) bool { return !at.Before(c.Start) && at.Before(c.Until()) }

// Until is when it is over: its end, or when somebody ended it.
func (c DeclaredChange) Until() time.Time {
	if !c.EndedAt.IsZero() && c.EndedAt.Before(c.End) {
		return c.EndedAt
	}
	return c.End
}

// About is what is being changed.
func (c DeclaredChange) About() Subject {
	return Subject{Site: c.Site, Service: cmp.Or(c.Service, AllServices)}
}

// Noun is what people call it.
func (c DeclaredChange) Noun() string {
	switch {
	case c.Maintenance:
		return "maintenance"
	case c.Incident:
		return "incident"
	}
	return "change"
}

// Longest is how long it may last.
func (c DeclaredChange) Longest() time.Duration {
	if c.Maintenance {
		return MaintenanceLongest
	}
	return ChangeLongest
}

// Maintenance is the maintenance of a subject, or of a part of it, that is under way at a time; of several the one that
// ends last. Nil when there is none.
func (t Topology) Maintenance(s Subject, at time.Time) *DeclaredChange {
	var out *DeclaredChange
	for c := range t.Maintenances(at) {
		if c.About().Overlaps(s) && (out == nil || c.Until().After(out.Until())) {
			out = c
		}
	}
	return out
}

// Maintenances are all that are under way at a time.
func (t Topology) Maintenances(at time.Time) iter.Seq[*DeclaredChange] {
	return func(yield func(*DeclaredChange) bool) {
		for i := range t.Changes {
			if c := &t.Changes[i]; c.Maintenance && c.At(at) && !yield(c) {
				return
			}
		}
	}
}

// ChangeID derives the id of a change that was declared without one. The same change declared twice has one id.
func ChangeID(c DeclaredChange) string {
	prefix := "chg_"
	switch {
	case c.Maintenance:
		prefix = "mnt_"
	case c.Incident:
		prefix = "inc_"
	}
	return derive(prefix, c.Site, c.Service, c.What, c.Source, strconv.FormatInt(c.Start.UnixMilli(), 10))
}

// Check reports what is wrong with a change declared at a time; nil or an *Error with CodeInvalid.
func (c DeclaredChange) Check(at time.Time) error {
	bad := func(message, hint string) error { return &Error{Code: CodeInvalid, Message: message, Hint: hint} }
	switch {
	case !regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:-]{0,99}$`).MatchString(c.ID):
		return bad(fmt.Sprintf("%.120q is no id of a change", c.ID), "use up to 100 letters, digits, dots, colons, dashes and underscores")
	case c.What == "" || len(c.What) > changeText:
		return bad("what is missing or too long", fmt.Sprintf("say what is changed in at most %d bytes", changeText))
	case len(c.Source) > changeText:
		return bad("source is too long", fmt.Sprintf("name what declares it in at most %d bytes", changeText))
	case !c.End.After(c.Start):
		return bad("the change ends before it starts", "give end after start, or ttl_s")
	case c.End.Sub(c.Start) > c.Longest():
		return bad(fmt.Sprintf("the %s lasts longer than %.0f h", c.Noun(), c.Longest().Hours()), "declare another one when it goes on")
	case c.Incident && c.Maintenance:
		return bad("an incident is no maintenance", "declare each by itself")
	case c.Incident && c.End.After(at):
		return bad("the incident is not over", "mark a time that has passed, with its start and its end")
	case c.Incident && c.Start.Before(at.Add(-IncidentLate)):
		return bad("the incident began more than 60 days ago", "detectors have forgotten it")
	case c.Incident:
	case c.Start.After(at.Add(ChangeEarly)):
		return bad("the change starts in more than 7 days", "declare it later")
	case c.Start.Before(at.Add(-ChangeLate)):
		return bad("the change started more than 24 h ago", "declare changes when they begin")
	}
	return nil
}

// MarkedTime is a time on record that is not like others for a subject: detectors do not learn from it, or judge it otherwise.
type MarkedTime struct {
	Kind    string    `json:"kind"` // incident, drained, shifted, change or maintenance
	Subject Subject   `json:"subject"`
	From    time.Time `json:"from"`
	Until   time.Time `json:"until,omitzero"` // zero: it is not over
	What    string    `json:"what,omitempty"`
	Load    float64   `json:"load,omitempty"` // of shifted, users as a multiple of before; 0: nobody knows
}
