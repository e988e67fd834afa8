package main

import (
	"bytes"
	"errors"
	"regexp"
	"testing"
	"time"
)

func TestRun(t *testing.T) {
	var out bytes.Buffer
	err := run(options{entries: 5000, readers: 2, writers: 2, runtime: 50 * time.Millisecond}, &out)
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Error(err)
	}
	for _, want := range []string{`^5000 entries put`, `table of \d+ slots`, `(9\d|100) % found`, `[1-9]\d* grace periods`, `collection takes`} {
		if !regexp.MustCompile(want).Match(out.Bytes()) {
			t.Errorf("no %s in\n%s", want, out.String())
		}
	}
}

func TestRefusals(t *testing.T) {
	for _, o := range []options{{}, {entries: 1, readers: -1}, {entries: 1, writers: -1}} {
		if err := run(o, new(bytes.Buffer)); err == nil {
			t.Errorf("%+v ran", o)
		}
	}
}
