package main

import (
	"fmt"
	"io"
	"os"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/runner"
)

// progress is one line on a terminal that is rewritten with every step.
// Elsewhere it is silent.
type progress struct{ w io.Writer }

// newProgress writes to w if that is a terminal.
func newProgress(w io.Writer) *progress {
	file, ok := w.(*os.File)
	if !ok {
		return &progress{io.Discard}
	}
	info, err := file.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return &progress{io.Discard}
	}
	return &progress{w}
}

// eraseLine goes back to the line's beginning and clears it (ECMA-48 EL).
const eraseLine = "\r\x1b[K"

func (p *progress) step(s runner.Step) {
	fmt.Fprintf(p.w, "%s%3d %%  %v: %s, %s", eraseLine, 100*s.Done/max(1, s.Runs), s.Case, s.Alloc, s.Stage)
}

func (p *progress) clear() { fmt.Fprint(p.w, eraseLine) }
