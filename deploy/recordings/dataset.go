package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

const licence = "Apache-2.0"

// madeFault is a fault of one of the recordings in a set.
type madeFault struct {
	recording string
	fault
}

// writeSet writes a data set in the form of the detection corpus: series first, then the tables that speak of them.
func writeSet(out string, all []series, faults []madeFault) error {
	dir := filepath.Join(out, "series")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make the data set: %w", err)
	}
	manifest := [][]string{{
		"id", "source", "kind", "n_metrics", "licence", "interval_s", "n_points", "n_anomaly_windows",
		"train_end_index", "n_test_windows", "n_test_anomaly_points", "vus_window", "file", "sha256_16",
	}}
	windows := [][]string{{"id", "start_index", "end_index", "onset_index", "start_unix_ms", "end_unix_ms", "onset_unix_ms", "starts_in_test", "fault"}}
	touched := [][]string{{"id", "start_index", "end_index", "start_unix_ms", "end_unix_ms", "fault"}}
	columns := [][]string{{"id", "column", "series"}}
	keep := map[string]bool{}
	for _, s := range all {
		text := s.csv()
		sum := sha256.Sum256(text)
		file := s.id + ".csv.gz"
		keep[file] = true
		if err := writeZipped(filepath.Join(dir, file), text); err != nil {
			return err
		}
		kind := "uni"
		if len(s.columns) > 1 {
			kind = "multi"
			for i, c := range s.columns {
				columns = append(columns, []string{s.id, fmt.Sprintf("m%02d", i), c})
			}
		}
		tests, points := s.tested()
		manifest = append(manifest, []string{
			s.id, s.source, kind, num(len(s.columns)), licence, num(int(step.Seconds())), num(len(s.at)),
			num(len(s.windows)), num(s.trainEnd), num(tests), num(points), num(vusWindow(s.column(0))), "series/" + file, hex.EncodeToString(sum[:])[:16],
		})
		for _, w := range s.windows {
			inTest := "0"
			if w.start >= s.trainEnd {
				inTest = "1"
			}
			windows = append(windows, []string{
				s.id, num(w.start), num(w.end), num(w.start), num64(s.at[w.start]), num64(s.at[w.end]),
				num64(w.onsetMS), inTest, w.fault,
			})
		}
		for _, w := range s.touched {
			touched = append(touched, []string{s.id, num(w.start), num(w.end), num64(s.at[w.start]), num64(s.at[w.end]), w.fault})
		}
	}
	for _, t := range []struct {
		name string
		rows [][]string
	}{{"windows.csv", windows}, {"touched.csv", touched}, {"columns.csv", columns}, {"faults.csv", faultTable(faults)}, {"manifest.csv", manifest}} {
		if err := writeTable(filepath.Join(out, t.name), t.rows); err != nil {
			return err
		}
	}
	return sweep(dir, keep)
}

// faultTable has every fault with the moments at which it was begun to be done and wholly mended.
func faultTable(faults []madeFault) [][]string {
	rows := [][]string{{"fault", "kind", "site", "peer", "amount", "one_way", "start_unix_ms", "end_unix_ms", "text"}}
	for _, f := range faults {
		end := ""
		if !f.End.IsZero() {
			end = num64(f.End.UnixMilli())
		}
		rows = append(rows, []string{
			meta{Name: f.recording}.faultName(f.fault), f.Kind, f.Site, f.Peer, f.Amount, strconv.FormatBool(f.OneWay),
			num64(f.Start.UnixMilli()), end, f.Text,
		})
	}
	return rows
}

// tested counts windows and labelled rows behind the prefix.
func (s *series) tested() (windows, points int) {
	for _, w := range s.windows {
		if w.start >= s.trainEnd {
			windows++
		}
	}
	for _, l := range s.labels[s.trainEnd:] {
		points += int(l)
	}
	return windows, points
}

func (s *series) column(i int) []float64 {
	out := make([]float64, len(s.values))
	for row, v := range s.values {
		out[row] = v[i]
	}
	return out
}

// csv is the series as a file: unix_ms, the value or m00 and so on, label.
func (s *series) csv() []byte {
	var b bytes.Buffer
	b.WriteString("unix_ms,")
	if len(s.columns) == 1 {
		b.WriteString("value,")
	} else {
		for i := range s.columns {
			fmt.Fprintf(&b, "m%02d,", i)
		}
	}
	b.WriteString("label\n")
	for i, at := range s.at {
		b.WriteString(num64(at))
		for _, v := range s.values[i] {
			b.WriteByte(',')
			b.WriteString(strconv.FormatFloat(v, 'g', 6, 64))
		}
		fmt.Fprintf(&b, ",%d\n", s.labels[i])
	}
	return b.Bytes()
}

func writeZipped(path string, text []byte) error {
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err == nil {
		_, err = z.Write(text)
	}
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		return fmt.Errorf("compress %s: %w", path, err)
	}
	return replace(path, b.Bytes())
}

func writeTable(path string, rows [][]string) error {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	if err := w.WriteAll(rows); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return replace(path, b.Bytes())
}

// replace writes a file so that a reader sees the old or the new one.
func replace(path string, raw []byte) error {
	if err := os.WriteFile(path+".new", raw, 0o644); err != nil {
		return fmt.Errorf("write the data set: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("write the data set: %w", err)
	}
	return nil
}

// sweep removes series of an earlier export.
func sweep(dir string, keep map[string]bool) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("look for old series: %w", err)
	}
	entries = slices.DeleteFunc(entries, func(e os.DirEntry) bool { return keep[e.Name()] || e.IsDir() })
	for _, e := range entries {
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
			return fmt.Errorf("remove an old series: %w", err)
		}
	}
	return nil
}

func num(n int) string     { return strconv.Itoa(n) }
func num64(n int64) string { return strconv.FormatInt(n, 10) }
