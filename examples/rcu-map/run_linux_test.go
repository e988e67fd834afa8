package main

import (
	"bytes"
	"regexp"
	"testing"
	"time"
)

// One update in ten deletes its key, so that about nine keys in ten are found. On a busy machine
// the writers may fill no sheaf within 50 ms, and then no grace period passes: the test tries a
// longer time.
func TestRun(t *testing.T) {
	var out bytes.Buffer
	passed := regexp.MustCompile(`[1-9]\d* grace periods`)
	for o := (options{entries: 5000, readers: 2, writers: 2, runtime: 50 * time.Millisecond}); !passed.Match(out.Bytes()); o.runtime *= 2 {
		out.Reset()
		if err := run(o, &out); err != nil {
			t.Fatal(err)
		}
		t.Logf("%v:\n%s", o.runtime, out.String())
	}
	for _, want := range []string{`^5000 entries put`, `table of \d+ slots`, `(8[5-9]|9\d|100) % found`, `collection takes`} {
		if !regexp.MustCompile(want).Match(out.Bytes()) {
			t.Errorf("no %s in\n%s", want, out.String())
		}
	}
}
