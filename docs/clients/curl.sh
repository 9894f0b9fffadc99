#!/bin/sh
# sh curl.sh URL [ID]: print a stream, or what follows the event with this id.
exec curl --no-buffer --silent --show-error --fail --header "Accept: text/event-stream" \
    ${2:+--header "Last-Event-ID: $2"} "$1"
