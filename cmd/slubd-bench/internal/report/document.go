package report

import (
	"encoding/json"
	"io"
	"time"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/machine"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/runner"
)

// Document is everything that was found, and the JSON that -json prints.
// Field names are stable.
type Document struct {
	Env      Env              `json:"env"`
	Results  []runner.Result  `json:"results"`
	Summary  *Summary         `json:"summary,omitempty"` // nil where there is nothing to compare
	Failures []runner.Failure `json:"failures,omitempty"`
	Missing  []runner.Missing `json:"missing,omitempty"`
	// Versions are of native allocators and rivals, as they or their packages tell it.
	Versions map[string]string `json:"versions,omitempty"`
}

// Env is the machine and how the suite was run on it.
type Env struct {
	machine.Env
	Seed      uint64 `json:"seed"`
	BenchTime string `json:"benchtime"` // of one run, as a Go duration
	Count     int    `json:"count"`     // rounds asked for
}

// New assembles a document.
func New(env machine.Env, seed uint64, bench time.Duration, count int, r runner.Report) Document {
	return Document{
		Env:      Env{Env: env, Seed: seed, BenchTime: bench.String(), Count: count},
		Results:  append([]runner.Result{}, r.Results...), // [] rather than null
		Summary:  summarize(r.Results),
		Failures: r.Failures,
		Missing:  r.Missing,
		Versions: r.Versions,
	}
}

// JSON writes the document, indented.
func (d Document) JSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(d)
}
