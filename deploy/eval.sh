#!/usr/bin/env bash
# Measures the detectors on labelled series, with the evaluator beside them: every model that a watch can have and that
# judges by the past alone, with what the server ships and in its form, then the proof that none looks ahead, and last
# the figures of all beside the anchors.
# Usage: deploy/eval.sh SERVER DATA EVALTOOL OUT      SERVER: the binary; DATA: a labelled data set (manifest.csv, windows.csv,
# series/, and anchors/ if there are any); EVALTOOL: the evaluator's source; OUT: where scores and reports go
set -euo pipefail
here=$(realpath "$(dirname "$0")")
[ $# = 4 ] || { echo "usage: deploy/eval.sh SERVER DATA EVALTOOL OUT" >&2; exit 2; }
server=$(realpath "$1") data=$2 tool=$3 out=$4
[ -f "$data/manifest.csv" ] || { echo "eval: no data set at $data (want manifest.csv there): say where with DATA=..." >&2; exit 1; }
[ -f "$tool/go.mod" ] || { echo "eval: no evaluator at $tool: say where with EVALTOOL=..." >&2; exit 1; }
data=$(realpath "$data")
mkdir -p "$out" && out=$(realpath "$out")
echo "eval: building the evaluator"
(cd "$tool" && go build -o "$out/evaltool" .)
rm -rf "$out/in" "$out/in60"
"$out/evaltool" strip -data "$data" -out "$out/in"
"$out/evaltool" prefix -data "$data" -out "$out/in60" -frac 0.6
judge() { # IN OUT MODEL; what is left out is told when something fails
  "$server" detect --in "$1" --out "$2" --model "$3" 2>"$out/detect.log" || { cat "$out/detect.log" >&2; exit 1; }
}
models=${MODELS:-auto service robust-z seasonal local-fit cusum}
for model in $models; do
  rm -rf "$out/$model" "$out/$model-60"
  judge "$out/in" "$out/$model" "$model"
  # A source of a kind that the model does not judge is a dash in the tables below.
  "$out/evaltool" eval -data "$data" -scores "$out/$model" -name "$model" -json "$out/$model.json" | grep -v '^WARNING: .* without a score file$' | cat -s
  echo
done
echo "Not measured, since one configuration for everything cannot say what they are asked:"
echo "  threshold  a limit of the series"
echo "  trend      a limit that the series runs towards"
echo "  burn-rate  the share of what may fail, of a series that is such a share"
echo "  absence    how long a series may be silent: labels stand only at rows that are there"
echo "  peers      the same series of three sites or more: the columns of a set here are different series of one machine"
echo
for model in $models; do
  judge "$out/in60" "$out/$model-60" "$model"
  echo "look-ahead of $model: $("$out/evaltool" causal -full "$out/$model" -prefix "$out/$model-60")"
done
echo
cd "$here/.."
# shellcheck disable=SC2086 # a list of words
go run ./deploy/eval -dir "$out" -anchors "$data/anchors" -evaltool "$out/evaltool" $models
