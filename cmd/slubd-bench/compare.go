package main

import (
	"errors"
	"flag"
	"io"
	"slices"
	"strings"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/report"
)

// errRegression says that slubd got worse. Nothing has failed.
var errRegression = errors.New("slubd has regressed")

// regressed returns errRegression if c has a regression. c is nil without -compare.
func regressed(c *report.Comparison) error {
	if c == nil || len(c.Regressions()) == 0 {
		return nil
	}
	return errRegression
}

// loadCompared reads what -compare and the argument behind the flags name, if anything.
func (o *options) loadCompared(newer string) error {
	for _, f := range []struct {
		path string
		to   **report.Document
	}{{o.older, &o.old}, {newer, &o.newer}} {
		if f.path == "" {
			continue
		}
		d, err := report.Load(f.path)
		if err != nil {
			return err
		}
		*f.to = &d
	}
	o.newerFile = newer
	return nil
}

// compare adds to d how it differs from the old document, if there is one.
func (o options) compare(d *report.Document) {
	if o.old != nil {
		d.Comparison = d.Compare(*o.old, o.older, o.threshold)
	}
}

// compareFiles prints how two documents differ.
func (o options) compareFiles(w io.Writer) error {
	c := o.newer.Compare(*o.old, o.older, o.threshold)
	c.New = o.newerFile
	write := c.Text
	if o.json {
		write = c.JSON
	}
	if err := write(w); err != nil {
		return err
	}
	return regressed(c)
}

// notMeasuring are the flags that have no influence on figures.
var notMeasuring = []string{"list", "env", "json", "format", "listen", "html", "compare", "threshold"}

// measuring returns the values of all other flags.
func measuring(fs *flag.FlagSet) map[string]string {
	list := map[string]string{}
	fs.VisitAll(func(f *flag.Flag) {
		if !slices.Contains(notMeasuring, f.Name) {
			list[f.Name] = f.Value.String()
		}
	})
	return list
}

// environ returns the variables of an environment that change how Go or slubd works.
func environ(all []string) map[string]string {
	list := map[string]string{}
	for _, variable := range all {
		name, value, _ := strings.Cut(variable, "=")
		if strings.HasPrefix(name, "SLUBD_") || slices.Contains([]string{"GODEBUG", "GOGC", "GOMEMLIMIT"}, name) {
			list[name] = value
		}
	}
	return list
}
