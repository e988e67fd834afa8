package main

import (
	"bytes"
	"testing"
)

func TestBadOptions(t *testing.T) {
	for _, o := range []options{{entries: 0}, {entries: 1, readers: -1}, {entries: 1, writers: -1}} {
		if err := run(o, new(bytes.Buffer)); err == nil {
			t.Errorf("%+v: no error", o)
		}
	}
}
