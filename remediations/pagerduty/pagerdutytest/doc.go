// Package pagerdutytest is a double of PagerDuty's Events API v2 that is as strict as the documentation: it refuses
// what the real one refuses, counts the rate as the real one does, and keeps the alerts that the real one would show.
package pagerdutytest
