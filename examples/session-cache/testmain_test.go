package main

import (
	"testing"

	"github.com/slubd/slubd/internal/testutil"
)

func TestMain(m *testing.M) {
	testutil.WithoutSamples()
	m.Run()
}
