package main

import (
	"crypto/rand"

	"example.com/tokenstore/examples/authserver/provider"
	"golang.org/x/crypto/bcrypt"
)

// The account and the clients for trials. A host has its own.
const (
	trialUser     = "ann"
	trialPassword = "a password for trials"
	trialClient   = "notes"
	trialRedirect = "http://127.0.0.1/callback"
)

func trial(issuer string) (provider.Config, error) {
	hash, err := bcrypt.GenerateFromPassword([]byte(trialPassword), bcrypt.DefaultCost)
	return provider.Config{
		Issuer:        issuer,
		Accounts:      []provider.Account{{ID: "user-ann", Username: trialUser, Name: "Ann Example", Password: hash}},
		Clients:       []provider.Client{{ID: trialClient, Name: "Notes", RedirectURIs: []string{trialRedirect}}},
		OperatorToken: rand.Text(), // a new one each time, since it is printed
	}, err
}
