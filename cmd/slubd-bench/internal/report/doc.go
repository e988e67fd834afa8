// Package report prints what the runner found: a table for people, one JSON
// document for programs, or Go's benchmark format for benchstat.
package report
