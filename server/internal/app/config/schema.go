package config

import _ "embed"

//go:generate go test -run TestSchemaIsThatOfTheTypes -update .

// schema is made of the types that the decoder reads, their comments, defaults and the values of testdata/good.yaml.
//
//go:embed schema.json
var schema []byte

// Schema is the JSON Schema (draft 7) of evenkeel.yaml, for editors. What it refuses Parse refuses too, in every scalar it
// allows ${...}. Parse refuses more: references to what is not declared, and what only belongs together.
func Schema() []byte { return append([]byte(nil), schema...) }
