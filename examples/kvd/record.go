package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/hooks/trace"
)

// recording writes what a store allocates and frees to a file. A nil one writes nothing.
type recording struct {
	file  *os.File
	trace *trace.Recorder
}

// record begins a recording, unless the path is empty.
func record(path string) (*recording, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("-record: %w", err)
	}
	r, err := trace.New(f, trace.Config{})
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &recording{f, r}, nil
}

// hooks returns those of a map whose allocations are to be recorded.
func (r *recording) hooks() hooks.Hooks {
	if r == nil {
		return hooks.Hooks{}
	}
	return r.trace.Hooks()
}

// close ends the recording. Its error says what is missing in the file, which has all before that.
func (r *recording) close() error {
	if r == nil {
		return nil
	}
	if err := errors.Join(r.trace.Close(), r.file.Close()); err != nil {
		return fmt.Errorf("-record: %w", err)
	}
	return nil
}
