package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

const (
	maxBytes  = 1 << 20 // of the file
	maxValues = 100_000 // decoded values, aliases expanded
	maxErrors = 20
)

// The texts of scalars, which the schema has too: of an int, a float64 and a bool.
var (
	wholeRule  = regexp.MustCompile(`^[+-]?[0-9]+$`)
	numberRule = regexp.MustCompile(`^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$`)
	truthRule  = regexp.MustCompile(`^(1|t|T|TRUE|true|True|0|f|F|FALSE|false|False)$`)
)

// scalar is a type that reads itself from the text of a scalar; the error says what would be right.
type scalar interface{ decode(text string) error }

// Problem is one mistake and where it stands.
type Problem struct {
	File         string
	Line, Column int
	Path         string
	Message      string
}

func (p Problem) Error() string {
	where := fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
	if p.Path == "" {
		return where + ": " + p.Message
	}
	return where + ": " + p.Path + ": " + p.Message
}

// Problems are all mistakes of one file, in file order.
type Problems []Problem

func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// shorthand is a struct that may also be written as one value.
type shorthand interface{ short(text string) }

type position struct{ line, column int }

// decoder walks the nodes of one file into a value, and remembers where each path stands.
type decoder struct {
	file     string
	dir      string // relative ${file:} paths start here
	env      func(string) (string, bool)
	where    map[string]position
	problems Problems
	values   int
}

// decodeFile reads one YAML document from data into out, a pointer to a struct.
func (d *decoder) decodeFile(data []byte, out any) {
	if len(data) > maxBytes {
		d.add("", position{1, 1}, "the file has %d bytes; the limit is %d", len(data), maxBytes)
		return
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	if err := dec.Decode(&doc); err != nil {
		if !errors.Is(err, io.EOF) {
			line, message := yamlError(err)
			d.add("", position{line, 1}, "not YAML: %s", message)
		}
		return
	}
	var more yaml.Node
	if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
		d.add("", position{max(more.Line, 1), 1}, "a second YAML document; keep everything in one")
		return
	}
	if len(doc.Content) == 1 {
		d.decode(doc.Content[0], reflect.ValueOf(out).Elem(), "", 0)
	}
}

// yamlError takes the line number out of a yaml error, for the place in front.
func yamlError(err error) (line int, message string) {
	message = strings.TrimPrefix(err.Error(), "yaml: ")
	if m := regexp.MustCompile(`^line (\d+): (.*)`).FindStringSubmatch(message); m != nil {
		line, _ = strconv.Atoi(m[1])
		message = m[2]
	}
	return max(line, 1), message
}

func (d *decoder) add(path string, at position, format string, args ...any) {
	if len(d.problems) < maxErrors {
		d.problems = append(d.problems, Problem{d.file, at.line, at.column, path, fmt.Sprintf(format, args...)})
	}
}

// addAt reports a mistake at the nearest known place of path.
func (d *decoder) addAt(path, format string, args ...any) {
	p := path
	for {
		if at, ok := d.where[p]; ok {
			d.add(path, at, format, args...)
			return
		}
		cut := strings.LastIndexAny(p, ".[")
		if cut < 0 {
			d.add(path, position{1, 1}, format, args...)
			return
		}
		p = p[:cut]
	}
}

func (d *decoder) decode(node *yaml.Node, out reflect.Value, path string, depth int) {
	at := position{node.Line, node.Column}
	d.where[path] = at
	if d.values++; d.values > maxValues || depth > 50 {
		if d.values == maxValues+1 || depth > 50 {
			d.add(path, at, "too many or too deeply nested values; is an alias repeating itself?")
		}
		return
	}
	if node.Kind == yaml.AliasNode {
		d.decode(node.Alias, out, path, depth+1)
		return
	}
	if node.Kind == yaml.ScalarNode && node.Tag == "!!null" {
		return // absent: the default stands
	}
	if s, ok := reflect.TypeAssert[scalar](out.Addr()); ok {
		if text, ok := d.text(node, path); ok {
			if err := s.decode(text); err != nil {
				d.add(path, at, "%s", err)
			}
		}
		return
	}
	if s, ok := reflect.TypeAssert[shorthand](out.Addr()); ok && node.Kind == yaml.ScalarNode {
		if text, ok := d.text(node, path); ok {
			s.short(text)
		}
		return
	}
	switch out.Kind() {
	case reflect.Pointer: // what may be left out although zero means something
		out.Set(reflect.New(out.Type().Elem()))
		d.decode(node, out.Elem(), path, depth+1)
	case reflect.Struct:
		d.decodeStruct(node, out, path, depth)
	case reflect.Map:
		d.decodeMap(node, out, path, depth)
	case reflect.Slice:
		d.decodeSlice(node, out, path, depth)
	default:
		d.decodeScalar(node, out, path)
	}
}

func (d *decoder) decodeStruct(node *yaml.Node, out reflect.Value, path string, depth int) {
	at := position{node.Line, node.Column}
	if node.Kind != yaml.MappingNode {
		d.add(path, at, "%s; write a mapping with the keys %s", kindWords(node), strings.Join(keysOf(out.Type()), ", "))
		return
	}
	d.eachPair(node, path, func(key string, keyAt position, value *yaml.Node) {
		for i := range out.NumField() {
			if keyOf(out.Type().Field(i)) == key && key != "" {
				d.decode(value, out.Field(i), join(path, key), depth+1)
				return
			}
		}
		hint := "known keys: " + strings.Join(keysOf(out.Type()), ", ")
		if near := nearest(key, keysOf(out.Type())); near != "" {
			hint = fmt.Sprintf("did you mean %q?", near)
		}
		d.add(join(path, key), keyAt, "unknown key %q; %s", key, hint)
	})
}

func (d *decoder) decodeMap(node *yaml.Node, out reflect.Value, path string, depth int) {
	if node.Kind != yaml.MappingNode {
		d.add(path, position{node.Line, node.Column}, "%s; write a mapping of names to values", kindWords(node))
		return
	}
	m := reflect.MakeMap(out.Type())
	d.eachPair(node, path, func(key string, _ position, value *yaml.Node) {
		v := reflect.New(out.Type().Elem()).Elem()
		d.decode(value, v, join(path, key), depth+1)
		m.SetMapIndex(reflect.ValueOf(key), v)
	})
	out.Set(m)
}

func (d *decoder) eachPair(node *yaml.Node, path string, f func(key string, at position, value *yaml.Node)) {
	seen := map[string]int{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		k, v := node.Content[i], node.Content[i+1]
		at := position{k.Line, k.Column}
		if k.Kind != yaml.ScalarNode || k.Tag == "!!merge" {
			d.add(path, at, "merge keys and keys that are not plain names are not understood; write the keys out")
			continue
		}
		if line, ok := seen[k.Value]; ok {
			d.add(join(path, k.Value), at, "key %q stands twice, first in line %d; remove one", k.Value, line)
			continue
		}
		seen[k.Value] = k.Line
		f(k.Value, at, v)
	}
}

func (d *decoder) decodeSlice(node *yaml.Node, out reflect.Value, path string, depth int) {
	if node.Kind != yaml.SequenceNode {
		d.add(path, position{node.Line, node.Column}, "%s; write a list: [a, b] or one \"- \" line each", kindWords(node))
		return
	}
	s := reflect.MakeSlice(out.Type(), len(node.Content), len(node.Content))
	for i, item := range node.Content {
		d.decode(item, s.Index(i), fmt.Sprintf("%s[%d]", path, i), depth+1)
	}
	out.Set(s)
}

func (d *decoder) decodeScalar(node *yaml.Node, out reflect.Value, path string) {
	text, ok := d.text(node, path)
	if !ok {
		return
	}
	at := position{node.Line, node.Column}
	switch out.Kind() {
	case reflect.String:
		out.SetString(text)
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil || !truthRule.MatchString(text) {
			d.add(path, at, "%q is not true or false", text)
			return
		}
		out.SetBool(b)
	case reflect.Int:
		n, err := strconv.Atoi(text)
		if err != nil || !wholeRule.MatchString(text) {
			d.add(path, at, "%q is not a whole number", text)
			return
		}
		out.SetInt(int64(n))
	case reflect.Float64:
		f, err := strconv.ParseFloat(text, 64)
		if err != nil || !numberRule.MatchString(text) {
			d.add(path, at, "%q is not a number", text)
			return
		}
		out.SetFloat(f)
	default:
		d.add(path, at, "a value of kind %s cannot be configured", out.Kind())
	}
}

// text is the text of a scalar with its ${...} references filled in.
func (d *decoder) text(node *yaml.Node, path string) (string, bool) {
	at := position{node.Line, node.Column}
	if node.Kind != yaml.ScalarNode {
		d.add(path, at, "%s; write a single value", kindWords(node))
		return "", false
	}
	text, err := d.expand(node.Value)
	if err != nil {
		d.add(path, at, "%s", err)
		return "", false
	}
	return text, true
}

// expand fills in ${env:NAME:-default} and ${file:path}; $$ is a dollar sign. What a file held is never part
// of an error.
func (d *decoder) expand(s string) (string, error) {
	var out strings.Builder
	for {
		i := strings.IndexByte(s, '$')
		if i < 0 || i+1 >= len(s) {
			out.WriteString(s)
			return out.String(), nil
		}
		out.WriteString(s[:i])
		rest := s[i+1:]
		switch rest[0] {
		case '$':
			out.WriteByte('$')
			s = rest[1:]
		case '{':
			end := strings.IndexByte(rest, '}')
			if end < 0 {
				return "", errors.New("${ without }; close it, or write $$ for a dollar sign")
			}
			v, err := d.reference(rest[1:end])
			if err != nil {
				return "", err
			}
			out.WriteString(v)
			s = rest[end+1:]
		default:
			out.WriteByte('$')
			s = rest
		}
	}
}

func (d *decoder) reference(ref string) (string, error) {
	kind, arg, _ := strings.Cut(ref, ":")
	switch kind {
	case "env":
		name, def, hasDef := strings.Cut(arg, ":-")
		if v, ok := d.env(name); ok && (v != "" || !hasDef) {
			return v, nil
		}
		if hasDef {
			return def, nil
		}
		return "", fmt.Errorf("environment variable %s is not set; set it, or give a default: ${env:%s:-value}", name, name)
	case "file":
		p := arg
		if !filepath.IsAbs(p) {
			p = filepath.Join(d.dir, p)
		}
		data, err := os.ReadFile(p)
		if err != nil {
			if pe, ok := errors.AsType[*os.PathError](err); ok {
				err = pe.Err
			}
			return "", fmt.Errorf("file %s cannot be read (%w); create it or correct the path", arg, err)
		}
		if len(data) > maxBytes {
			return "", fmt.Errorf("file %s has more than %d bytes", arg, maxBytes)
		}
		return strings.TrimRight(string(data), "\r\n"), nil
	}
	return "", fmt.Errorf("${%s:...} is not known; use ${env:NAME:-default} or ${file:path}", kind)
}

func kindWords(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping stands here"
	case yaml.SequenceNode:
		return "a list stands here"
	default:
		return "a single value stands here"
	}
}

func keysOf(t reflect.Type) []string {
	var keys []string
	for field := range t.Fields() {
		if name := keyOf(field); name != "" {
			keys = append(keys, name)
		}
	}
	return keys
}

// keyOf is the key of a field, empty where it has none.
func keyOf(field reflect.StructField) string {
	name, _, _ := strings.Cut(field.Tag.Get("yaml"), ",")
	return name
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// nearest is the candidate closest to name by edit distance, when it is close enough to be a slip.
func nearest(name string, candidates []string) string {
	best, at := "", 3
	for _, c := range candidates {
		if n := distance(name, c); n < at && 2*n <= len(c) {
			best, at = c, n
		}
	}
	return best
}

// distance is the Levenshtein distance of two short words.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		prev := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := prev
			if a[i] != b[j] {
				cost = min(prev, row[j], row[j+1]) + 1
			}
			prev, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}

func sortProblems(ps Problems) {
	slices.SortStableFunc(ps, func(a, b Problem) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
}
