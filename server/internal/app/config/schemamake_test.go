package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// facet is what validate, and not the decoder, knows of a key. TestSchemaAndDecoderAgree holds both together.
type facet struct {
	required bool
	enum     []string
	pattern  string
	least    *float64 // of a number, or of each value of a list or map of numbers
	most     *float64
	filled   bool // a list or map that may not be empty
}

// facets are by type and key.
func facets() map[string]facet {
	n := func(x float64) *float64 { return &x }
	name := facet{required: true, pattern: nameRule.String()}
	needed := facet{required: true}
	address := facet{pattern: "://"}
	neededAddress := facet{pattern: "://", required: true}
	distance := facet{enum: []string{"same-city", "cross-region", "global"}}
	count := facet{least: n(0)}
	return map[string]facet{
		"Server.url":   address,
		"Replica.name": name, "Replica.at": needed, "Replica.url": address, "Replica.peer": address,
		"Ledger.pattern": distance, "Ledger.endpoints": address,
		"Storage.url": address, "Storage.insert": address, "Storage.select": address,
		"Site.name": name, "Site.pattern": distance, "Site.capacity": {least: n(0)},
		"SiteProbe.name": name, "SiteProbe.to": needed, "SiteProbe.path": {enum: []string{pathPrivate}},
		"Witness.name": name,
		"Service.name": name, "Service.entries": {required: true, filled: true},
		"ServiceProbe.name": name, "ServiceProbe.path": {required: true, enum: []string{pathUser, pathPrivate}},
		"ServiceProbe.at": {required: true, filled: true},
		"Entry.url":       neededAddress, "Entry.status": {pattern: statusRule.String(), least: n(100), most: n(599)},
		"Entry.redirects": {enum: []string{"answer", "follow", "refuse"}},
		"Store.name":      name, "Store.controller": {enum: []string{"patroni", "orchestrator", "repmgr", "managed", "none"}},
		"Store.fence": {enum: []string{"none", "power", "storage", "network", "lease", "db-native"}},
		"Link.from":   needed, "Link.to": needed,
		"Watch.ready": {enum: readyNames()}, "Watch.name": {pattern: nameRule.String()},
		"Watch.about": {enum: []string{"site", "target_site", "link.from", "link.to"}},
		"Watch.model": {enum: []string{
			"auto", "threshold", "robust-z", "seasonal", "local-fit", "cusum", "trend", "burn-rate", "absence", "peers", "service",
		}},
		"Watch.direction": {enum: []string{"above", "below", "both"}}, "Watch.class": {enum: []string{"symptom", "cause"}},
		"BurnWindow.long": needed, "BurnWindow.short": needed, "BurnWindow.factor": needed,
		"Statistics.chance_per_year": {least: n(0.01), most: n(365)},
		"Policy.name":                name, "Policy.when": needed, "Policy.plan": needed, "When.condition": needed,
		"Guards.max_drained_sites": count, "Guards.min_serving": {least: n(1)}, "Guards.retry_factor": {least: n(1)},
		"Budget.per_hour": count, "Budget.per_day": count,
		"Assertion.name": name, "Assertion.at_least": count,
		"Freeze.name": name, "Freeze.lasts": needed,
		"Freeze.scope":     {enum: []string{"drills", "restores", "elective", "emergency"}},
		"SpecialTime.name": name, "SpecialTime.lasts": needed, "SpecialTime.like": {enum: weekdays()},
		"Target.name": name, "Target.type": {required: true, enum: []string{"webhook"}}, "Target.url": neededAddress, "Target.secret": needed,
		"PlanStep.target": needed, "PlanStep.weights": {required: true, filled: true, least: n(0), most: n(100)},
		"PlanStep.on_fail": {enum: []string{"stop", "continue", "rollback"}},
		"Notify.type":      {required: true, enum: []string{"pagerduty"}}, "Notify.routing_key": needed, "Notify.url": address,
	}
}

// mayRefer is the form of a text with a reference, whose value an editor does not know.
const mayRefer = `\$\{`

// maker walks the types as the decoder does.
type maker struct {
	docs     map[string]string // comments, by type, and by type and key
	facets   map[string]facet
	examples map[string][]any // by type and key
	used     map[string]bool  // facets that are somebody's
}

// makeSchema is the schema of evenkeel.yaml.
func makeSchema(t *testing.T) []byte {
	t.Helper()
	m := maker{docs: comments(t), facets: facets(), examples: map[string][]any{}, used: map[string]bool{}}
	good := readYAML(t, "testdata/good.yaml")
	visit(reflect.TypeFor[Config](), good, nil, "", func(_ []any, key string, v any) {
		list, _ := v.([]any)
		_, mapping := v.(map[string]any)
		if v == nil || v == "" || mapping || list != nil && (len(list) == 0 || !plain(list[0])) || slices.ContainsFunc(m.examples[key], func(x any) bool { return reflect.DeepEqual(x, v) }) {
			return
		}
		if len(m.examples[key]) < 3 {
			m.examples[key] = append(m.examples[key], v)
		}
	})
	filled := reflect.New(reflect.TypeFor[Config]()).Elem()
	filled.Set(reflect.ValueOf(Default()))
	oneOfEach(filled)
	c := filled.Interface().(Config)
	c.fill()
	c.Watches[0].Train = 0 // it is another one for each model
	out := m.of(reflect.TypeFor[Config](), reflect.ValueOf(c), "", facet{})
	out["$schema"] = "http://json-schema.org/draft-07/schema#"
	out["title"] = "Evenkeel server configuration"
	out["description"] = m.docs["Config"] + " Each value may hold ${env:NAME:-default} and ${file:path}."
	for key := range m.facets {
		if !m.used[key] {
			t.Errorf("a facet of %s, which is no key", key)
		}
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(out); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func plain(v any) bool {
	switch v.(type) {
	case nil, []any, map[string]any:
		return false
	}
	return true
}

// oneOfEach puts one element into each list and map of structs, for fill to give it its defaults.
func oneOfEach(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if keyOf(v.Type().Field(i)) != "" {
				oneOfEach(v.Field(i))
			}
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Struct {
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
			oneOfEach(v.Index(0))
		}
	case reflect.Map:
		e := reflect.New(v.Type().Elem()).Elem()
		if oneOfEach(e); !e.IsZero() || e.Kind() == reflect.Struct {
			v.Set(reflect.MakeMap(v.Type()))
			v.SetMapIndex(reflect.ValueOf("x"), e)
		}
	}
}

// of is the schema of a type. def is the value that stands where nothing is written, where is its type and key.
func (m maker) of(t reflect.Type, def reflect.Value, where string, f facet) map[string]any {
	if t.Kind() == reflect.Pointer {
		return m.of(t.Elem(), reflect.Value{}, where, f)
	}
	types := func(names ...string) []string {
		if !f.required {
			names = append(names, "null") // the default stands
		}
		return names
	}
	first := func() reflect.Value { // of a list or a map
		if !def.IsValid() || def.Len() == 0 {
			return reflect.Value{}
		}
		if def.Kind() == reflect.Map {
			return def.MapIndex(def.MapKeys()[0])
		}
		return def.Index(0)
	}
	elem := func() map[string]any {
		inner := facet{enum: f.enum, pattern: f.pattern, least: f.least, most: f.most}
		inner.required = t.Elem().Kind() == reflect.Struct // an empty one lacks its name
		return m.of(t.Elem(), first(), "", inner)
	}
	var out map[string]any
	switch _, isScalar := reflect.TypeAssert[scalar](reflect.New(t)); {
	case isScalar:
		out = m.scalar(t, f, types)
	case t.Kind() == reflect.Struct:
		out = m.mapping(t, def, types)
	case t.Kind() == reflect.Map:
		out = map[string]any{"type": types("object"), "additionalProperties": elem()}
		if f.filled {
			out["minProperties"] = 1
		}
		if t == reflect.TypeFor[map[string][]PlanStep]() {
			out["propertyNames"] = map[string]any{"pattern": nameRule.String()}
			out["additionalProperties"].(map[string]any)["minItems"] = 1
		}
	case t.Kind() == reflect.Slice:
		out = map[string]any{"type": types("array"), "items": elem()}
		if f.filled {
			out["minItems"] = 1
		}
	case t.Kind() == reflect.String:
		out = m.text(f, types)
	case t.Kind() == reflect.Bool:
		out = map[string]any{"type": types("boolean", "string", "integer"), "pattern": either(truthRule.String(), mayRefer), "minimum": 0, "maximum": 1}
	case t.Kind() == reflect.Int:
		out = map[string]any{"type": types("integer", "string"), "pattern": either(wholeRule.String(), mayRefer)}
	case t.Kind() == reflect.Float64:
		out = map[string]any{"type": types("number", "string"), "pattern": either(numberRule.String(), mayRefer)}
	default:
		panic(fmt.Sprintf("%s: the decoder reads no %s", where, t))
	}
	if !plainKind(t) && t.Kind() != reflect.Struct {
		f.least, f.most = nil, nil // they are the elements'
	}
	if f.least != nil {
		out["minimum"] = *f.least
	}
	if f.most != nil {
		out["maximum"] = *f.most
	}
	if where != "" {
		out["description"] = m.describe(t, where)
		if examples := m.examples[where]; len(examples) > 0 {
			out["examples"] = examples
		}
	}
	if d, ok := written(def); ok && where != "" {
		out["default"] = d
	}
	return out
}

func plainKind(t reflect.Type) bool {
	return !slices.Contains([]reflect.Kind{reflect.Struct, reflect.Map, reflect.Slice}, t.Kind())
}

// either is the pattern of texts that one of several matches.
func either(patterns ...string) string { return strings.Join(patterns, "|") }

// written is a default as one would write it. Zero values, and what is made of structs, are not shown.
func written(v reflect.Value) (any, bool) {
	if !v.IsValid() || v.IsZero() || v.Kind() == reflect.Struct || v.Kind() == reflect.Map || v.Kind() == reflect.Slice && !plainKind(v.Type().Elem()) {
		return nil, false
	}
	text, err := yaml.Marshal(v.Interface())
	if err != nil {
		panic(err)
	}
	var out any
	if err := yaml.Unmarshal(text, &out); err != nil {
		panic(err)
	}
	return out, true
}

func (m maker) mapping(t reflect.Type, def reflect.Value, types func(...string) []string) map[string]any {
	properties := map[string]any{}
	var required []string
	for i := range t.NumField() {
		key := keyOf(t.Field(i))
		if key == "" {
			continue
		}
		where := t.Name() + "." + key
		m.used[where] = true
		f := m.facets[where]
		if f.required {
			required = append(required, key)
		}
		var d reflect.Value
		if def.IsValid() {
			d = def.Field(i)
		}
		properties[key] = m.of(t.Field(i).Type, d, where, f)
	}
	out := map[string]any{"type": types("object"), "properties": properties, "additionalProperties": false}
	if required != nil {
		out["required"] = required
	}
	if _, ok := reflect.TypeAssert[shorthand](reflect.New(t)); ok { // its one value is its url
		out["type"] = types("object", "string")
		out["pattern"] = properties["url"].(map[string]any)["pattern"]
	}
	if t == reflect.TypeFor[Watch]() {
		out["if"] = map[string]any{"required": []string{"ready"}, "properties": map[string]any{"ready": map[string]any{"type": "string", "minLength": 1}}}
		out["then"] = map[string]any{"properties": onlyReady()}
		out["else"] = map[string]any{"required": []string{"name"}, "properties": map[string]any{"except": map[string]any{"type": "null"}}}
	}
	return out
}

// onlyReady leaves a ready-made set nothing but what it takes. Numbers and truths are left to Parse: a zero is no word.
func onlyReady() map[string]any {
	out := map[string]any{}
	for field := range reflect.TypeFor[Watch]().Fields() {
		if key := keyOf(field); key != "" && !slices.Contains(readySettings(), key) {
			switch field.Type.Kind() {
			case reflect.String:
				out[key] = map[string]any{"type": []string{"string", "null"}, "pattern": either("^$", mayRefer)}
			case reflect.Map, reflect.Slice, reflect.Pointer:
				out[key] = map[string]any{"type": "null"}
			}
		}
	}
	return out
}

// scalar is a type that reads itself: a form, or the names in its complaint.
func (m maker) scalar(t reflect.Type, f facet, types func(...string) []string) map[string]any {
	switch t {
	case reflect.TypeFor[Duration](): // a 0 needs no unit
		return map[string]any{"type": types("string", "integer"), "pattern": either(durationRule.String(), mayRefer), "minimum": 0, "maximum": 0}
	case reflect.TypeFor[Percent]():
		return map[string]any{"type": types("string"), "pattern": either(percentRule.String(), mayRefer)}
	}
	err := reflect.New(t).Interface().(scalar).decode("?")
	_, names, ok := strings.Cut(fmt.Sprint(err), "is not one of ")
	if !ok {
		panic(fmt.Sprintf("%s has neither a form nor names: %v", t, err))
	}
	f.enum = strings.Split(names, ", ")
	out := m.text(f, types)
	last := out["anyOf"].([]any)
	pattern := last[1].(map[string]any)
	pattern["pattern"] = either("^unknown$", mayRefer) // the name of nothing: as if it were not there
	return out
}

// text is the schema of a string, which any single value is.
func (m maker) text(f facet, types func(...string) []string) map[string]any {
	patterns := []string{mayRefer}
	if !f.required {
		patterns = append(patterns, "^$")
	}
	switch {
	case f.enum != nil:
		other := map[string]any{"type": types("string"), "pattern": either(patterns...)}
		return map[string]any{"anyOf": []any{map[string]any{"enum": f.enum}, other}}
	case f.pattern != "":
		return map[string]any{"type": types("string", "number", "boolean"), "pattern": either(append(patterns, f.pattern)...)}
	case f.required:
		return map[string]any{"type": types("string", "number", "boolean"), "minLength": 1}
	}
	return map[string]any{"type": types("string", "number", "boolean")}
}

// describe is the comment of the field, else of its type; and how its unit is written.
func (m maker) describe(t reflect.Type, where string) string {
	inner := t
	for inner.Kind() == reflect.Slice || inner.Kind() == reflect.Map {
		inner = inner.Elem()
	}
	out := m.docs[where]
	if out == "" && inner.Kind() == reflect.Struct {
		return m.docs[inner.Name()]
	}
	if out = strings.TrimSuffix(out, "."); out == "" {
		return ""
	}
	switch inner {
	case reflect.TypeFor[Duration](), reflect.TypeFor[Percent]():
		out += ". " + strings.TrimSuffix(m.docs[inner.Name()], ".")
	case reflect.TypeFor[core.Secret]():
		out += ". Keep it out of the file: ${file:path} or ${env:NAME}"
	}
	return out + "."
}

// comments are those of the types and of their keys.
func comments(t *testing.T) map[string]string {
	t.Helper()
	paths, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	oneLine := func(texts ...string) string { return strings.Join(strings.Fields(strings.Join(texts, " ")), " ") }
	for _, path := range paths {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			decl, ok := n.(*ast.GenDecl)
			if !ok || decl.Tok != token.TYPE {
				return true
			}
			spec := decl.Specs[0].(*ast.TypeSpec)
			out[spec.Name.Name] = oneLine(decl.Doc.Text())
			fields, ok := spec.Type.(*ast.StructType)
			if !ok {
				return false
			}
			for _, f := range fields.Fields.List {
				if f.Tag == nil {
					continue
				}
				tag := reflect.StructTag(strings.Trim(f.Tag.Value, "`"))
				key := keyOf(reflect.StructField{Tag: tag})
				out[spec.Name.Name+"."+key] = oneLine(f.Doc.Text(), f.Comment.Text())
			}
			return false
		})
	}
	return out
}

// visit calls f with each value below v, the place and, for the value of a key or an element of it, the type and key.
func visit(t reflect.Type, v any, path []any, where string, f func(path []any, where string, v any)) {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	f(path, where, v)
	at := func(step any) []any { return append(slices.Clone(path), step) }
	switch v := v.(type) {
	case []any:
		for i, e := range v {
			visit(t.Elem(), e, at(i), where+"[]", f)
		}
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			if t.Kind() == reflect.Map {
				visit(t.Elem(), v[key], at(key), where+"{}", f)
				continue
			}
			for field := range t.Fields() {
				if keyOf(field) == key {
					visit(field.Type, v[key], at(key), t.Name()+"."+key, f)
				}
			}
		}
	}
}

func readYAML(t *testing.T, path string) any {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return fromYAML(t, data)
}

// fromYAML is a document as JSON has it.
func fromYAML(t *testing.T, data []byte) any {
	t.Helper()
	var v any
	if err := yaml.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	return asJSON(v)
}

func asJSON(v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = asJSON(v[i])
		}
		return v
	case map[string]any:
		for k := range v {
			v[k] = asJSON(v[k])
		}
		return v
	case float64:
		if v-v != 0 { // no number of JSON
			return fmt.Sprint(v)
		}
	case map[any]any:
		out := map[string]any{}
		for k, e := range v {
			out[fmt.Sprint(k)] = asJSON(e)
		}
		return out
	}
	return v
}

// dotted is a place as problems name it.
func dotted(path []any) string {
	out := ""
	for _, step := range path {
		if i, ok := step.(int); ok {
			out += fmt.Sprintf("[%d]", i)
		} else {
			out = join(out, step.(string))
		}
	}
	return out
}
