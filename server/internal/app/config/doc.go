// Package config reads evenkeel.yaml: strict, and every complaint names the place and the remedy.
//
// The file is decoded over the defaults, scalars may hold ${env:NAME:-default} and ${file:path}, and all
// mistakes are reported at once, each as file:line:column: path: what is wrong; what would be right.
// A Config is never changed after Load.
package config
