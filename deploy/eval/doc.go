// Command eval sets what the evaluator counted of each model beside the best anchors: one table for each figure, and auto against
// the best anchors of each source, series by series. deploy/eval.sh runs it last.
package main
