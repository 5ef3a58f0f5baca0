package config

import (
	"fmt"

	"github.com/evenkeel/evenkeel/remediations"
	"github.com/evenkeel/evenkeel/remediations/pagerduty"
	"github.com/evenkeel/evenkeel/remediations/webhook"
	"github.com/evenkeel/evenkeel/server/internal/core"
)

func (v *validator) targetList() {
	for i, t := range v.c.Targets {
		path := fmt.Sprintf("targets[%d]", i)
		v.name("targets", t.Name, i, v.targets)
		v.oneOf(path+".type", t.Type, "webhook")
		found := len(v.d.problems)
		v.url(path+".url", t.URL)
		var secrets []remediations.Secret
		for _, s := range []struct {
			key  string
			text core.Secret
		}{{".secret", t.Secret}, {".old_secret", t.OldSecret}} {
			if s.text == "" && s.key == ".old_secret" {
				continue
			}
			secret, err := remediations.ParseSecret(s.text.Reveal())
			if err != nil {
				v.bad(path+s.key, "%s; make one with: evenkeel-server secret", err)
				continue
			}
			secrets = append(secrets, secret)
		}
		if len(v.d.problems) > found {
			continue
		}
		// The target itself has the last word: what is accepted here must not be refused at the start.
		if _, err := webhook.New(webhook.Options{
			URL: t.URL, Secrets: secrets, Timeout: t.Timeout.D(), AllowPrivate: t.AllowPrivate,
		}); err != nil {
			v.bad(path+".url", "%s", err)
		}
	}
}

func (v *validator) notifyList() {
	for i, n := range v.c.Notify {
		path := fmt.Sprintf("notify[%d]", i)
		v.oneOf(path+".type", n.Type, "pagerduty")
		found := len(v.d.problems)
		v.url(path+".url", n.URL)
		key, err := pagerduty.ParseKey(n.RoutingKey.Reveal())
		if err != nil {
			v.bad(path+".routing_key", "%s", err)
		}
		if len(v.d.problems) > found {
			continue
		}
		if _, err := pagerduty.New(pagerduty.Options{Key: key, BaseURL: n.URL, AllowPrivate: n.AllowPrivate}); err != nil {
			v.bad(path+".url", "%s; use https, or set allow_private for a relay in your own network", err)
		}
	}
	if len(v.c.Notify) > 1 {
		v.bad("notify[1]", "one way to page is supported in this version; remove the others")
	}
}
