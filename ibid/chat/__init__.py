"""Foundation models that draft answers, behind the `ChatModel` port."""
