package api

import (
	"bytes"
	"encoding"
	"maps"
	"os"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/go-cmp/cmp"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// types are all types of core that the given values are made of.
func types(roots ...any) map[string]reflect.Type {
	out := map[string]reflect.Type{}
	var walk func(reflect.Type)
	walk = func(t reflect.Type) {
		switch t.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Map:
			walk(t.Elem())
			return
		}
		if _, ok := out[t.Name()]; ok || t.PkgPath() != reflect.TypeFor[core.Episode]().PkgPath() || t == reflect.TypeFor[core.Seconds]() {
			return
		}
		out[t.Name()] = t
		if t.Kind() == reflect.Struct {
			for f := range t.Fields() {
				walk(f.Type)
			}
		}
	}
	for _, v := range roots {
		walk(reflect.TypeOf(v))
	}
	return out
}

// The records' JSON is core's own; the document must say the same of it, field by field.
func TestDocumentKnowsEveryFieldOfCore(t *testing.T) {
	doc := load(t)
	for name, typ := range types(
		core.Episode{}, core.Decision{}, core.Action{}, core.Notice{}, core.Line{}, core.Observation{}, core.Reply{},
		core.Credential{}, core.Routing{}, core.Brake{}, core.Identity{}, core.Leadership{}, core.Member{}, core.Preflight{},
		core.BreakGlass{}, core.LinkView{}, core.DeclaredChange{}, core.Warming{},
	) {
		ref := doc.Components.Schemas[name]
		if ref == nil {
			t.Errorf("the document has no schema %s", name)
			continue
		}
		if ref.Value.Extensions["x-go-type"] != "core."+name {
			t.Errorf("%s is not mapped to core.%s", name, name)
		}
		if typ.Kind() == reflect.Struct {
			checkFields(t, name, typ, ref.Value)
		} else if typ.Kind() == reflect.Uint8 {
			checkEnum(t, name, typ, ref.Value)
		}
	}
}

func checkFields(t *testing.T, name string, typ reflect.Type, schema *openapi3.Schema) {
	t.Helper()
	var fields, required []string
	for f := range typ.Fields() {
		field, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if field == "-" || field == "" {
			continue
		}
		fields = append(fields, field)
		if !strings.Contains(options, "omit") {
			required = append(required, field)
		}
	}
	slices.Sort(fields)
	if diff := cmp.Diff(fields, slices.Sorted(maps.Keys(schema.Properties))); diff != "" {
		t.Errorf("fields of %s (-core +document):\n%s", name, diff)
	}
	slices.Sort(required)
	if diff := cmp.Diff(required, slices.Sorted(slices.Values(schema.Required))); diff != "" {
		t.Errorf("required of %s (-core +document):\n%s", name, diff)
	}
}

func checkEnum(t *testing.T, name string, typ reflect.Type, schema *openapi3.Schema) {
	t.Helper()
	var want []any
	for i := range 64 {
		v := reflect.New(typ).Elem()
		v.SetUint(uint64(i))
		text, err := v.Interface().(encoding.TextMarshaler).MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		if i > 0 && string(text) == "unknown" {
			break
		}
		want = append(want, string(text))
	}
	if diff := cmp.Diff(want, schema.Enum); diff != "" {
		t.Errorf("values of %s (-core +document):\n%s", name, diff)
	}
}

func TestGeneratedFilesAreCurrent(t *testing.T) {
	for dir, file := range map[string]string{".": "openapi.gen.go", "../cli/client": "client.gen.go"} {
		want, err := os.ReadFile(dir + "/" + file)
		if err != nil {
			t.Fatal(err)
		}
		document, modfile := "openapi.yaml", "../../../tools/oapi/go.mod"
		if dir != "." {
			document, modfile = "../../api/openapi.yaml", "../../../../tools/oapi/go.mod"
		}
		config, err := os.ReadFile(dir + "/oapi.yaml")
		if err != nil {
			t.Fatal(err)
		}
		tmp := t.TempDir()
		got := tmp + "/" + file
		config = bytes.Replace(config, []byte("output: "+file), []byte("output: "+got), 1)
		if err := os.WriteFile(tmp+"/oapi.yaml", config, 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), "go", "tool", "-modfile="+modfile, "oapi-codegen", "-config", tmp+"/oapi.yaml", document)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("generate: %v\n%s", err, out)
		}
		fresh, err := os.ReadFile(got)
		if err != nil {
			t.Fatal(err)
		}
		if string(fresh) != string(want) {
			t.Errorf("%s/%s is not what openapi.yaml makes: run go generate ./server/internal/...", dir, file)
		}
	}
}
