#!/bin/sh
# The release step: once for each deploy, before the new web processes start. Safe to run again, and beside old
# processes that still serve: migrations only add what the running version can ignore.
set -eu
cd "$(dirname "$0")/.."
python manage.py check --deploy --database default
python manage.py migrate --noinput
# An image brings its static files and may be read-only; anywhere else they are collected now.
if [ -w . ]; then python manage.py collectstatic --noinput --verbosity 0; fi
