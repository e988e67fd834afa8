//go:build !race

package machine

const race = false
