"""Webhooks: sends events to the URLs that other systems have registered (endpoints), signed and with retries.

Each event that is sent to an endpoint is a delivery, which takes one or more attempts.
"""
