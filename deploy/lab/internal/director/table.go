package director

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"

	"github.com/evenkeel/evenkeel/deploy/lab/internal/knob"
)

// Normal is the weight of a site that serves as if nothing had been.
const Normal = 100

// entry is one site of a service.
type entry struct {
	site    string
	percent int // of normal, 0 to 100
	current int // smooth weighted round robin's account
}

// Table says how many of a service's users go to which site. It is safe for concurrent use.
type Table struct {
	file string
	mu   sync.Mutex
	rows map[string][]entry // by service
}

// NewTable begins with the weights in file, or with all sites at normal. Services and sites that the file has
// and the lab has not are forgotten. An empty file name keeps nothing.
func NewTable(file string, services, sites []string) (*Table, error) {
	saved, err := readWeights(file)
	if err != nil {
		return nil, err
	}
	t := &Table{file: file, rows: map[string][]entry{}}
	for _, service := range services {
		for _, site := range sites {
			percent := Normal
			if p, ok := saved[service][site]; ok {
				percent = min(max(p, 0), Normal)
			}
			t.rows[service] = append(t.rows[service], entry{site: site, percent: percent})
		}
	}
	return t, nil
}

func readWeights(file string) (map[string]map[string]int, error) {
	if _, err := os.Stat(file); file == "" || errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	saved, err := knob.Read[map[string]map[string]int](file)
	if err != nil {
		return nil, fmt.Errorf("read weights: %w", err)
	}
	return saved, nil
}

// Pick chooses the site of the next user by smooth weighted round robin (nginx's): over any run of requests
// each site gets its share as evenly as whole requests allow. No site is an answer when all weights are zero.
func (t *Table) Pick(service string) (site string, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	row := t.rows[service]
	best, total := -1, 0
	for i := range row {
		if row[i].percent == 0 {
			continue
		}
		row[i].current += row[i].percent
		total += row[i].percent
		if best < 0 || row[i].current > row[best].current {
			best = i
		}
	}
	if best < 0 {
		return "", false
	}
	row[best].current -= total
	return row[best].site, true
}

// Weights are the weights now, by service and site, in percent of normal.
func (t *Table) Weights() map[string]map[string]int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.weights()
}

func (t *Table) weights() map[string]map[string]int {
	out := make(map[string]map[string]int, len(t.rows))
	for service, row := range t.rows {
		out[service] = make(map[string]int, len(row))
		for _, e := range row {
			out[service][e.site] = e.percent
		}
	}
	return out
}

// Serving counts the sites with users if the site had the weight.
func (t *Table) Serving(service, site string, percent int) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for _, e := range t.rows[service] {
		if e.site == site && percent > 0 || e.site != site && e.percent > 0 {
			n++
		}
	}
	return n
}

// Has reports whether the service is served at the site.
func (t *Table) Has(service, site string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.ContainsFunc(t.rows[service], func(e entry) bool { return e.site == site })
}

// Set changes one weight and reports whether it was another one before. The new weights are on disk before they
// count.
func (t *Table) Set(service, site string, percent int) (changed bool, err error) {
	if percent < 0 || percent > Normal {
		return false, fmt.Errorf("weight %d is not within 0 to %d", percent, Normal)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	row := t.rows[service]
	i := slices.IndexFunc(row, func(e entry) bool { return e.site == site })
	if i < 0 {
		return false, fmt.Errorf("%s is not served at %s", service, site)
	}
	if row[i].percent == percent {
		return false, nil
	}
	if t.file != "" {
		next := t.weights()
		next[service][site] = percent
		if err := knob.Write(t.file, next); err != nil {
			return false, fmt.Errorf("keep weights: %w", err)
		}
	}
	row[i].percent = percent
	for j := range row {
		row[j].current = 0 // accounts of the old weights would favour or starve someone for a while
	}
	return true, nil
}
