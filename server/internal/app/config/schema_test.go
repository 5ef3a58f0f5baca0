package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

func TestSchemaIsThatOfTheTypes(t *testing.T) {
	want := makeSchema(t)
	if *update {
		if err := os.WriteFile("schema.json", want, 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(Schema(), want) {
		t.Error("schema.json is not that of the types; make it anew: go generate ./server/internal/app/config")
	}
}

// An editor has a word to each key.
func TestEachKeyIsDescribed(t *testing.T) {
	var keys func(path string, s map[string]any) int
	keys = func(path string, s map[string]any) (n int) {
		for key, p := range child(s, "properties") {
			of := p.(map[string]any)
			if text, _ := of["description"].(string); len(text) < 5 {
				t.Errorf("%s.%s has no comment", path, key)
			}
			n += 1 + keys(path+"."+key, of)
		}
		for _, name := range []string{"items", "additionalProperties"} {
			if inner := child(s, name); inner != nil {
				n += keys(path, inner)
			}
		}
		return n
	}
	var s map[string]any
	if err := json.Unmarshal(Schema(), &s); err != nil {
		t.Fatal(err)
	}
	if n := keys("", s); n < 150 {
		t.Errorf("only %d keys", n)
	}
}

func child(s map[string]any, key string) map[string]any {
	out, _ := s[key].(map[string]any)
	return out
}

func compiled(t testing.TB) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// says is what the schema says of a document.
func says(t *testing.T, s *jsonschema.Schema, v any) error {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return s.Validate(doc)
}

// What is documented is right by the schema.
func TestSchemaAllowsTheExamples(t *testing.T) {
	s := compiled(t)
	for _, path := range []string{"testdata/good.yaml", "../../../../deploy/example.yaml"} {
		if err := says(t, s, readYAML(t, path)); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	c, err := load(t, "testdata/good.yaml")
	if err != nil {
		t.Fatal(err)
	}
	shown, err := c.Render()
	if err != nil {
		t.Fatal(err)
	}
	if err := says(t, s, fromYAML(t, shown)); err != nil {
		t.Errorf("the effective configuration: %v", err)
	}
	readme, err := os.ReadFile("../../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, block := range regexp.MustCompile(`(?m)(?:^    .*\n)+`).FindAllString(string(readme), -1) {
		first, _, _ := strings.Cut(strings.TrimSpace(block), ":")
		if slices.Contains(keysOf(reflect.TypeFor[Config]()), first) {
			found++
			if err := says(t, s, fromYAML(t, []byte(regexp.MustCompile(`(?m)^    `).ReplaceAllString(block, "")))); err != nil {
				t.Errorf("README: %s%v", block, err)
			}
		}
	}
	if found < 5 {
		t.Errorf("only %d pieces of configuration in the README", found)
	}
}

// A file that the decoder refuses for its form the schema refuses too.
func TestSchemaRefusesBadForms(t *testing.T) {
	form := regexp.MustCompile(`unknown key|is not a duration|is negative|write a list|write a mapping|write a single value|is not true or false|` +
		`is not a whole number|is not a number|is not a percentage|is not one of|the name is missing|is not a name|the url is missing|is no status`)
	// The names of watches in a set are not in the schema, and those of answers are read in any case of letters.
	other := []string{"watch-ready-except", "entry-rcode"}
	s := compiled(t)
	paths, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	for _, path := range paths {
		want, err := os.ReadFile(strings.TrimSuffix(path, ".yaml") + ".want")
		if err != nil {
			t.Fatal(err)
		}
		if !form.Match(want) || slices.Contains(other, strings.TrimSuffix(filepath.Base(path), ".yaml")) {
			continue
		}
		if refused++; says(t, s, readYAML(t, path)) == nil {
			t.Errorf("%s: the schema allows it, the decoder says %s", path, want)
		}
	}
	if refused < 20 {
		t.Errorf("only %d files", refused)
	}
}

// Each value of good.yaml is replaced by values of every kind, left out, and given an unknown key: what the schema refuses the
// server refuses, and what the decoder refuses for its form the schema refuses.
func TestSchemaAndDecoderAgree(t *testing.T) {
	values := []any{
		nil, true, false, -1, 0, 1, 2, 101, 200, 366, 600, 0.001, 0.5, 1e7, "", "x", "Not A Name", "true", "yes", "T", "5", "+5", "0x10", "1_0", "0.5", ".5", "1e2",
		"0", "5s", "-5s", "1h30m", ".5s", "100d", "-1d", "1.5d", "5 s", "99.9%", " 5%", "5 %", "150%", "-1%", "%", "unknown", "drain", "http", "fra",
		"https://fra.example.net/", "2xx", "9xx", "${env:X:-5}", "${env:X:-5s}", "${env:X:-5%}", "${env:X:-}",
	}
	for _, text := range []string{`[]`, `[null]`, `["x"]`, `[1]`, `[{}]`, `{}`, `{"x": "y"}`, `{"x": null}`, `{"x": []}`} {
		values = append(values, fromYAML(t, []byte(text)))
	}
	s := compiled(t)
	good := readYAML(t, "testdata/good.yaml")
	var places [][]any
	wheres := map[string]string{} // by place
	seen := map[string]bool{}
	visit(reflect.TypeFor[Config](), good, nil, "", func(path []any, where string, _ any) {
		if !seen[where] {
			seen[where] = true
			places = append(places, path)
			wheres[dotted(path)] = where
		}
	})
	if err := taken(t, good); err != nil {
		t.Fatal(err)
	}
	tried, refused := 0, 0
	check := func(what string, doc any, path []any) {
		t.Helper()
		part := doc
		if len(path) > 0 { // the schema and the decoder look at each key of the file for itself, and at each element of its list
			key := path[0].(string)
			of := valueAt(doc, path[:1])
			if i, ok := path[min(1, len(path)-1)].(int); ok && len(path) > 2 {
				of = []any{of.([]any)[i]}
			}
			part = map[string]any{key: of}
			whole := maps.Clone(doc.(map[string]any))
			delete(whole, "watches") // to which nothing refers
			if key == "watches" && of != nil {
				whole[key] = of
			}
			doc = whole
		}
		text, err := json.Marshal(part)
		if err != nil {
			t.Fatal(err)
		}
		d := &decoder{file: "x.yaml", dir: "testdata", env: noEnv, where: map[string]position{}}
		c := Default()
		d.decodeFile(text, &c)
		schemaErr, form := says(t, s, part), len(d.problems) > 0
		tried++
		if schemaErr != nil {
			refused++
		}
		switch {
		case schemaErr == nil && form && !strings.Contains(what, "${"):
			t.Errorf("%s: the schema allows what the decoder refuses: %v", what, d.problems)
		case schemaErr != nil && !form && taken(t, doc) == nil:
			t.Errorf("%s: the schema refuses what the server takes: %v", what, schemaErr)
		}
	}
	for _, path := range places {
		place := dotted(path)
		for _, v := range values {
			check(fmt.Sprintf("%s: %#v", place, v), changed(good, path, func(any) (any, bool) { return v, true }), path)
		}
		check(place+" with an unknown key", changed(good, path, func(v any) (any, bool) {
			if m, ok := v.(map[string]any); ok {
				m["no_such_key"] = 1
			}
			return v, true
		}), path)
		check(place+" twice", changed(good, path, func(v any) (any, bool) {
			if l, ok := v.([]any); ok {
				return append(l, l...), true
			}
			return v, true
		}), path)
		check(place+" left out", changed(good, path, func(any) (any, bool) { return nil, false }), path)
	}
	t.Logf("%d places, %d documents, %d refused by the schema", len(places), tried, refused)
	if len(places) < 180 || refused < 1000 || tried-refused < 500 {
		t.Errorf("%d places, %d documents, %d refused: too few to know", len(places), tried, refused)
	}

	// The names are those that the complaint has.
	for key, f := range facets() {
		if f.enum == nil {
			continue
		}
		i := slices.IndexFunc(places, func(path []any) bool {
			return strings.TrimSuffix(wheres[dotted(path)], "[]") == key && plain(valueAt(good, path))
		})
		if i < 0 {
			t.Errorf("%s is not in good.yaml", key)
			continue
		}
		err := taken(t, changed(good, places[i], func(any) (any, bool) { return "no-such", true }))
		if key != "SiteProbe.path" && !strings.Contains(fmt.Sprint(err), "is not one of "+strings.Join(f.enum, ", ")) || err == nil {
			t.Errorf("%s: the schema has %q, the server says %v", key, f.enum, err)
		}
	}
}

// taken is what the server says of a document.
func taken(t *testing.T, doc any) error {
	t.Helper()
	text, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Parse("testdata/x.yaml", text, noEnv)
	return err
}

// changed is a copy of a document in which f has had the value at a place; it is left out where f says so.
func changed(doc any, path []any, f func(any) (any, bool)) any {
	if len(path) == 0 {
		out, _ := f(copied(doc))
		return out
	}
	switch v := doc.(type) {
	case []any:
		i, out := path[0].(int), slices.Clone(v)
		if len(path) > 1 {
			out[i] = changed(v[i], path[1:], f)
		} else if e, keep := f(copied(v[i])); keep {
			out[i] = e
		} else {
			out = slices.Delete(out, i, i+1)
		}
		return out
	case map[string]any:
		key, out := path[0].(string), maps.Clone(v)
		if len(path) > 1 {
			out[key] = changed(v[key], path[1:], f)
		} else if e, keep := f(copied(v[key])); keep {
			out[key] = e
		} else {
			delete(out, key)
		}
		return out
	}
	panic(fmt.Sprintf("no %v in %v", path, doc))
}

func copied(v any) any {
	switch v := v.(type) {
	case []any:
		return slices.Clone(v)
	case map[string]any:
		return maps.Clone(v)
	}
	return v
}

func valueAt(v any, path []any) any {
	for _, step := range path {
		switch s := step.(type) {
		case int:
			v = v.([]any)[s]
		case string:
			v = v.(map[string]any)[s]
		}
	}
	return v
}
