// Package rules holds the tests that keep the house's walls where they are: who may import whom.
package rules
