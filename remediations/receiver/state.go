package receiver

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/evenkeel/evenkeel/remediations"
)

const stateVersion = 1

// memory is everything that must survive a restart.
type memory struct {
	Version  int              `json:"version"`
	Adopted  string           `json:"adopted,omitempty"` // the cluster that AdoptFirst chose
	Epochs   map[string]int64 `json:"epochs"`            // highest epoch obeyed, by cluster
	Subjects []record         `json:"subjects"`
}

// record is the newest command of one cluster about one subject.
type record struct {
	Site    string               `json:"site"`
	Service string               `json:"service"`
	Unit    string               `json:"unit,omitempty"`
	Fencing remediations.Fencing `json:"fencing"`
	ID      string               `json:"id"`
	Desired string               `json:"desired_state"`
	Weight  int                  `json:"weight"`
	Reply   *reply               `json:"reply,omitempty"` // nil: begun, not finished
}

func (r record) about(d remediations.Data) bool {
	return r.Site == d.Site && r.Service == d.Service && r.Unit == d.Unit
}

// overlaps reports whether the record and the command are about some of the same users.
func (r record) overlaps(d remediations.Data) bool {
	all := func(s string) bool { return s == "all" }
	return r.Site == d.Site &&
		(r.Service == d.Service || all(r.Service) || all(d.Service)) &&
		(r.Unit == d.Unit || r.Unit == "" || d.Unit == "")
}

// stale returns the token that overtook the command, nil when there is none.
func (m *memory) stale(r remediations.Request) *remediations.Fencing {
	f := r.Data.Fencing
	if epoch := m.Epochs[f.ClusterID]; f.Epoch < epoch {
		current := remediations.Fencing{ClusterID: f.ClusterID, Epoch: epoch}
		for _, s := range m.Subjects {
			if s.Fencing.ClusterID == f.ClusterID && s.Fencing.Epoch == epoch {
				current.Seq = max(current.Seq, s.Fencing.Seq)
			}
		}
		return &current
	}
	var newest *remediations.Fencing
	for _, s := range m.Subjects {
		if s.Fencing.ClusterID != f.ClusterID || !s.overlaps(r.Data) {
			continue
		}
		overtaken := s.Fencing.Compare(f) > 0 ||
			// One token orders one thing. Two different wishes with one token have no order.
			s.Fencing.Compare(f) == 0 && s.about(r.Data) && !s.same(r)
		if overtaken && (newest == nil || s.Fencing.Compare(*newest) > 0) {
			current := s.Fencing
			newest = &current
		}
	}
	return newest
}

// same reports whether the command is the recorded one come back.
func (r record) same(req remediations.Request) bool {
	d := req.Data
	return r.about(d) && r.Fencing == d.Fencing && r.Desired == d.DesiredState && r.Weight == d.Step.Weight
}

// find returns the record of the command's subject from its cluster, nil when there is none.
func (m *memory) find(r remediations.Request) *record {
	i := slices.IndexFunc(m.Subjects, func(s record) bool {
		return s.Fencing.ClusterID == r.Data.Fencing.ClusterID && s.about(r.Data)
	})
	if i < 0 {
		return nil
	}
	return &m.Subjects[i]
}

// with returns a copy in which the command is the newest about its subject.
func (m *memory) with(r remediations.Request, answer *reply) *memory {
	next := m.clone()
	d := r.Data
	next.Epochs[d.Fencing.ClusterID] = max(next.Epochs[d.Fencing.ClusterID], d.Fencing.Epoch)
	rec := record{
		Site: d.Site, Service: d.Service, Unit: d.Unit, Fencing: d.Fencing, ID: r.ID,
		Desired: d.DesiredState, Weight: d.Step.Weight, Reply: answer,
	}
	if old := next.find(r); old != nil {
		*old = rec
	} else {
		next.Subjects = append(next.Subjects, rec)
	}
	return next
}

func (m *memory) clone() *memory {
	next := &memory{
		Version: stateVersion, Adopted: m.Adopted,
		Epochs: make(map[string]int64, len(m.Epochs)+1), Subjects: slices.Clone(m.Subjects),
	}
	maps.Copy(next.Epochs, m.Epochs)
	return next
}

// load reads the state file; a file that is not there is an empty memory. A damaged file is an error: without its
// tokens an old command could be obeyed.
func load(path string) (*memory, error) {
	if err := sweep(path); err != nil {
		return nil, err
	}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return &memory{Version: stateVersion, Epochs: map[string]int64{}}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read fencing state: %w", err)
	}
	m := &memory{} // nothing preset: what the file does not say is not there
	if err = decode(b, m); err == nil {
		err = m.whole()
	}
	if err != nil {
		return nil, fmt.Errorf("fencing state %s is damaged: %w (restore it, or remove it once no old command can be under way)", path, err)
	}
	return m, nil
}

// decode is strict: a key that is not known is a token that would be forgotten.
func decode(b []byte, m *memory) error {
	var version struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(b, &version); err != nil {
		return err
	}
	if version.Version != stateVersion {
		return fmt.Errorf("it has version %d, want %d", version.Version, stateVersion)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	return d.Decode(m)
}

// whole checks that the memory is one that this package wrote.
func (m *memory) whole() error {
	seen := map[string]bool{}
	for i, s := range m.Subjects {
		f := s.Fencing
		switch {
		case s.Site == "" || s.Service == "" || s.ID == "" || f.ClusterID == "" || f.Epoch < 1 || f.Seq < 1:
			return fmt.Errorf("subject %d names no site, service, id or token", i)
		case f.Epoch > m.Epochs[f.ClusterID]:
			return fmt.Errorf("subject %d has an epoch above that of its cluster", i)
		case s.Weight < 0 || s.Weight > 100:
			return fmt.Errorf("subject %d has weight %d", i, s.Weight)
		}
		if r := s.Reply; r != nil && !slices.Contains([]int{http.StatusOK, http.StatusAccepted, http.StatusPreconditionFailed}, r.Status) {
			return fmt.Errorf("subject %d has an answer with status %d", i, r.Status)
		}
		seen[f.ClusterID] = true
	}
	for cluster := range m.Epochs {
		if !seen[cluster] {
			return fmt.Errorf("cluster %q has an epoch and no subject", cluster)
		}
	}
	if m.Adopted != "" && !seen[m.Adopted] {
		return fmt.Errorf("cluster %q was adopted and has no subject", m.Adopted)
	}
	if len(m.Subjects) == 0 {
		return errors.New("it holds no token")
	}
	return nil
}

// tmpSuffix begins the ending of a file that is being written.
const tmpSuffix = ".tmp-"

// sweep removes what a crash in the middle of save left behind.
func sweep(path string) error {
	entries, err := os.ReadDir(filepath.Dir(path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // save will say so
	}
	if err != nil {
		return fmt.Errorf("look for fencing state: %w", err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), filepath.Base(path)+tmpSuffix) {
			if err := os.Remove(filepath.Join(filepath.Dir(path), e.Name())); err != nil {
				return fmt.Errorf("remove an unfinished fencing state: %w", err)
			}
		}
	}
	return nil
}

// save replaces the state file as a whole: after a crash there is the old one or the new one.
func save(path string, m *memory) (err error) {
	b, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return fmt.Errorf("encode fencing state: %w", err)
	}
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, filepath.Base(path)+tmpSuffix+"*")
	if err != nil {
		return fmt.Errorf("write fencing state: %w", err)
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
		}
	}()
	if _, err = f.Write(b); err != nil {
		return fmt.Errorf("write fencing state: %w", err)
	}
	if err = f.Sync(); err != nil {
		return fmt.Errorf("write fencing state: %w", err)
	}
	if err = f.Close(); err != nil {
		return fmt.Errorf("write fencing state: %w", err)
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return fmt.Errorf("replace fencing state: %w", err)
	}
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync the folder of the fencing state: %w", err)
	}
	defer func() { _ = d.Close() }()
	if err = d.Sync(); err != nil {
		return fmt.Errorf("sync the folder of the fencing state: %w", err)
	}
	return nil
}
