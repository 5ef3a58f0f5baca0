package nats

import "strings"

func beatSubject(origin string) string           { return "evenkeel.hb." + origin }
func echoSubject(observer, origin string) string { return "evenkeel.echo." + observer + "." + origin }

// site reports whether a name can be one token of a subject.
func site(name string) bool { return name != "" && !strings.ContainsAny(name, ".*> \t\r\n\x00") }
