package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/page"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/report"
)

// pageFile is where -html writes its page: a file beside it until all is written, so that no run is
// made for a file that can't be, and no half of a page takes the place of another. A nil one writes
// nothing.
type pageFile struct {
	path string
	temp *os.File // nil when the page has its name
}

// newPage makes the file for a page, unless the path is empty.
func newPage(path string) (*pageFile, error) {
	if path == "" {
		return nil, nil
	}
	temp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return nil, err
	}
	return &pageFile{path, temp}, nil
}

// pageMode lets others read the page, which is there to be shown.
const pageMode = 0o644

// write writes the page.
func (p *pageFile) write(d report.Document) error {
	if p == nil {
		return nil
	}
	err := errors.Join(page.Write(p.temp, d), p.temp.Chmod(pageMode), p.temp.Close())
	if err == nil {
		err = os.Rename(p.temp.Name(), p.path)
	}
	if err != nil {
		return fmt.Errorf("-html: %w", err)
	}
	p.temp = nil
	return nil
}

// discard removes what was not written to its end.
func (p *pageFile) discard() {
	if p == nil || p.temp == nil {
		return
	}
	_ = p.temp.Close() // fails if write has closed it
	_ = os.Remove(p.temp.Name())
}
